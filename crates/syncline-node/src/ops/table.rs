//! `table`: what live tables there are, made and changed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncline_tree::schema::{Field, Schema, Type};

use crate::import::parse_type;
use crate::live::definition::{Definition, Granularity, Resolver, Scope, Settings, State, Writers};
use crate::live::{Engine, resolve, token};
use crate::replica::Replica;
use crate::{Error, Result};

/// What `table` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Make a table.
    Create {
        /// Its name.
        table: String,
        /// The key's columns.
        key: Vec<String>,
        /// Names and types of columns; those of the key are text when they are not among them.
        columns: Vec<(String, String)>,
        /// What is decided about it.
        settings: Wanted,
        /// Even if versions have a table of that name, which the next commit replaces by this one.
        #[serde(default)]
        replace: bool,
    },
    /// Change what is decided about a table, or its columns: renames come first, then types, new columns, and those that go.
    Set {
        /// Its name.
        table: String,
        /// What is decided about it.
        settings: Wanted,
        /// Names and new names.
        #[serde(default)]
        rename: Vec<(String, String)>,
        /// Names and wider types.
        #[serde(default)]
        widen: Vec<(String, String)>,
        /// Names and types of new columns.
        #[serde(default)]
        add: Vec<(String, String)>,
        /// Columns that go soon.
        #[serde(default)]
        deprecate: Vec<String>,
        /// Columns that go.
        #[serde(default)]
        drop: Vec<String>,
    },
    /// Show one table, or all.
    Show {
        /// Its name.
        table: Option<String>,
    },
}

/// Decisions; what is `None` stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Wanted {
    /// `one`: this replica alone; `many`; `strict`: those whose transactions the certifier lets in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writers: Option<String>,
    /// The id of the replica that certifies a strict table; `here` for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certifier: Option<String>,
    /// Change a strict table although another replica certifies it, which has gone for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub take_over: bool,
    /// `row` or `column`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granularity: Option<String>,
    /// `row` or `txn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// As a resolver is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<String>,
}

/// A column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: String,
    /// Whether it is of the key.
    pub key: bool,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether it goes soon.
    #[serde(default)]
    pub deprecated: bool,
}

/// A table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shown {
    /// Its name.
    pub table: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Who writes: `many`, the one replica, or `strict` and the one that certifies.
    pub writers: String,
    /// Whether that one is this replica.
    pub ours: bool,
    /// What is in conflict.
    pub granularity: Granularity,
    /// What stands or falls together.
    pub scope: Scope,
    /// Who wins.
    pub resolver: String,
    /// How many rows are here.
    pub rows: u64,
}

/// Tables as they are now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The tables.
    pub tables: Vec<Shown>,
    /// The transaction that made or changed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// What somebody has read who has read them.
    pub position: String,
}

/// Makes, changes or shows live tables.
///
/// # Errors
/// `conflict` when a table of that name is there already or is somebody else's; `not-found` when there is none; `invalid` when it cannot be
/// like that.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let engine = replica.live()?;
    match request {
        Request::Create { table, key, columns, settings, replace } => {
            if engine.find_table(table)?.is_some() {
                let why =
                    "there is one already; see it with `syncline table show`, change it with `syncline table set`";
                return Err(Error::conflict(format!("making live table {table:?}"), why));
            }
            if !replace {
                refuse_versioned(replica, table)?;
            }
            let schema = schema(table, key, columns)?;
            let settings = apply(&engine, settings, Settings { writers: own(&engine)?, ..Settings::default() })?;
            let made = Definition::create(table, &schema, settings)?;
            change(&engine, None, &made)
        }
        Request::Set { table, settings, rename, widen, add, deprecate, drop } => {
            let before = engine.table(table)?;
            if !(settings.take_over && matches!(before.settings().writers, Writers::Strict(_))) {
                super::put::check_writer(&engine, &before)?;
            }
            let mut made = before.set(apply(&engine, settings, before.settings().clone())?)?;
            for (from, to) in rename {
                made = made.rename_column(from, to)?;
            }
            for (name, ty) in widen {
                let nullable = made.column(name).is_none_or(|column| column.nullable);
                made = made.widen_column(name, parse(ty)?, nullable)?;
            }
            for (name, ty) in add {
                made = made.add_column(name, parse(ty)?)?;
            }
            for name in deprecate {
                made = made.deprecate_column(name, true)?;
            }
            for name in drop {
                made = made.drop_column(name)?;
            }
            if settings.take_over && made.settings().writers == Writers::Strict(engine.id()?) {
                engine.certify_from_now()?;
            }
            change(&engine, Some(&before), &made)
        }
        Request::Show { table } => {
            let names = match table {
                Some(name) => vec![name.clone()],
                None => engine.table_names()?,
            };
            let tables = names.iter().map(|name| shown(&engine, &*engine.table(name)?)).collect::<Result<_>>()?;
            let position = token::of_context(&engine.read(syncline_sync::live::Node::context)?);
            Ok(Report { tables, transaction: None, position })
        }
    }
}

/// Refuses to make a live table of which versions have one: the next commit would replace that.
pub(super) fn refuse_versioned(replica: &Replica, table: &str) -> Result<()> {
    let working = replica.working_root(&replica.refs()?)?;
    let Some(there) = working.tables.get(table) else { return Ok(()) };
    let why = format!(
        "versions have a table of that name, with {} rows, and the next commit would replace it by this one: choose another name (`syncline \
         export` and `syncline put` copy rows), or say that it is to be replaced: `syncline table create {table} --replace`",
        there.rows
    );
    Err(Error::conflict(format!("making live table {table:?}"), why))
}

fn change(engine: &Engine, before: Option<&Arc<Definition>>, made: &Definition) -> Result<Report> {
    let writes = made.changes(before.map(|before| &**before));
    if writes.is_empty() {
        let position = token::of_context(&engine.read(syncline_sync::live::Node::context)?);
        return Ok(Report { tables: vec![shown(engine, made)?], transaction: None, position });
    }
    let committed = engine.commit(None, writes)?;
    let transaction = Some(token::of_dot(&committed.dot));
    let tables = vec![shown(engine, &*engine.table(made.name())?)?];
    Ok(Report { tables, transaction, position: token::of_wait(&committed.position) })
}

fn own(engine: &Engine) -> Result<Writers> {
    Ok(Writers::One(engine.id()?))
}

/// The schema of a new table.
fn schema(table: &str, key: &[String], columns: &[(String, String)]) -> Result<Schema> {
    if key.is_empty() {
        let why = "a live table has a key: name its columns with --key";
        return Err(Error::invalid(format!("making live table {table:?}"), why));
    }
    let mut fields = Vec::new();
    for name in key.iter().filter(|name| columns.iter().all(|(column, _)| column != *name)) {
        fields.push(Field::new(name, Type::Utf8, false));
    }
    for (name, ty) in columns {
        fields.push(Field::new(name, parse(ty)?, !key.contains(name)));
    }
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    Ok(Schema::new(fields, &key)?)
}

fn parse(ty: &str) -> Result<Type> {
    Ok(parse_type(ty)?)
}

/// Settings with what is wanted.
fn apply(engine: &Engine, wanted: &Wanted, mut settings: Settings) -> Result<Settings> {
    let unknown =
        |what: &str, is: &str, there: &str| Error::invalid(format!("{what} {is:?}"), format!("there are {there}"));
    match wanted.writers.as_deref() {
        None => {}
        Some("one") => settings.writers = own(engine)?,
        Some("many") => settings.writers = Writers::Many,
        Some("strict") => settings.writers = certifier(engine, wanted, &settings.writers)?,
        Some(other) => return Err(unknown("writers", other, "one, many and strict")),
    }
    match (&wanted.writers, &wanted.certifier, &settings.writers) {
        (None, named, Writers::Strict(_)) if named.is_some() || wanted.take_over => {
            settings.writers = certifier(engine, wanted, &settings.writers)?;
        }
        (_, None, _) | (_, Some(_), Writers::Strict(_)) => {}
        (_, Some(_), _) => {
            let why = "only a strict table has one: give --writers strict with it";
            return Err(Error::invalid("naming a certifier", why));
        }
    }
    match wanted.granularity.as_deref() {
        None => {}
        Some("row") => settings.granularity = Granularity::Row,
        Some("column") => settings.granularity = Granularity::Column,
        Some(other) => return Err(unknown("granularity", other, "row and column")),
    }
    match wanted.scope.as_deref() {
        None => {}
        Some("row") => settings.scope = Scope::Row,
        Some("txn") => settings.scope = Scope::Txn,
        Some(other) => return Err(unknown("scope", other, "row and txn")),
    }
    if let Some(resolver) = &wanted.resolver {
        settings.resolver = resolver.parse::<Resolver>()?;
        if let Some(why) = resolve::refuses(&settings.resolver) {
            return Err(Error::invalid(format!("resolver {resolver:?}"), why));
        }
    }
    Ok(settings)
}

/// Who is to certify a table: the one that is named, or that did; else this replica, when it is a hub.
fn certifier(engine: &Engine, wanted: &Wanted, before: &Writers) -> Result<Writers> {
    let id = match (wanted.certifier.as_deref(), before) {
        (None, Writers::Strict(certifier)) if !wanted.take_over => return Ok(Writers::Strict(certifier.clone())),
        (Some("here") | None, _) => {
            if !engine.read(syncline_sync::live::Node::is_hub)? {
                let upstream = engine.status()?.upstream.unwrap_or_else(|| "URL".to_owned());
                let why = format!(
                    "a strict table is certified by a hub, in the order of its log, and this replica takes its transactions to {upstream}: do it \
                     there (--on {upstream})"
                );
                return Err(Error::invalid("certifying a table here", why));
            }
            engine.id()?
        }
        (Some(id), _) => id.to_owned(),
    };
    Ok(Writers::Strict(id))
}

fn shown(engine: &Engine, table: &Definition) -> Result<Shown> {
    let schema = table.schema();
    let key = schema.key_positions();
    let column = |(at, is): (usize, &syncline_tree::schema::Column)| Column {
        name: is.name.clone(),
        ty: is.ty.to_string(),
        key: key.contains(&at),
        nullable: is.nullable,
        deprecated: table.column(&is.name).is_some_and(|column| column.state == State::Deprecated),
    };
    let (writers, ours) = match &table.settings().writers {
        Writers::Many => ("many".to_owned(), true),
        Writers::One(owner) => (format!("one: {owner}"), *owner == engine.id()?),
        Writers::Strict(certifier) => {
            (format!("strict: {certifier}"), *certifier == engine.id()? && engine.may_certify()?)
        }
    };
    let from = table.row(bytes::Bytes::new());
    let rows = engine.read(|node| node.rows_from(&from).count() as u64)?;
    Ok(Shown {
        table: table.name().to_owned(),
        columns: schema.columns.iter().enumerate().map(column).collect(),
        writers,
        ours,
        granularity: table.settings().granularity,
        scope: table.settings().scope,
        resolver: table.settings().resolver.to_string(),
        rows,
    })
}
