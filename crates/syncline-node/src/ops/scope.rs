//! `scope`: the parts of a dataset that spokes can hold, made, shown and removed.

use serde::{Deserialize, Serialize};
use syncline_sync::live::{Node, Write};

use crate::live::definition::Definition;
use crate::live::scopes::{self, Named, Rule, Said};
use crate::live::{Engine, token};
use crate::replica::Replica;
use crate::{Error, Result};

/// What `scope` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Make a scope, or make it anew.
    Set {
        /// Its name.
        name: String,
        /// What else is in it stays.
        #[serde(default)]
        add: bool,
        /// Names of tables, or patterns of them.
        #[serde(default)]
        tables: Vec<String>,
        /// Which of their rows.
        #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
        condition: Option<String>,
        /// Which of their columns.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        columns: Option<Vec<String>>,
        /// Patterns of files' paths.
        #[serde(default)]
        paths: Vec<String>,
    },
    /// Show one, or all.
    Show {
        /// Its name.
        name: Option<String>,
    },
    /// Remove one. Who follows it keeps what it has, and gets nothing further.
    Remove {
        /// Its name.
        name: String,
    },
}

/// A rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShownRule {
    /// A table, or a pattern of them.
    pub table: String,
    /// Which of their rows; all if it is absent.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Which of their columns beside the key; all if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
}

/// A scope.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shown {
    /// Its name.
    pub scope: String,
    /// What tells it from what it was before it was changed.
    pub version: String,
    /// Rows of tables.
    pub tables: Vec<ShownRule>,
    /// Files.
    pub paths: Vec<String>,
}

/// Scopes as they are now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The scopes.
    pub scopes: Vec<Shown>,
    /// The transaction that changed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// What somebody has read who has read them.
    pub position: String,
}

/// Makes, shows or removes scopes.
///
/// # Errors
/// `not-found` when there is no such scope or table; `invalid` when it cannot be like that.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let engine = replica.live()?;
    match request {
        Request::Set { name, add, tables, condition, columns, paths } => {
            let mut rules = Vec::new();
            for table in tables {
                rules.push(rule(&engine, table, condition.as_deref(), columns.as_deref())?);
            }
            if tables.is_empty() && (condition.is_some() || columns.is_some()) {
                let why = "--where and --columns are of a table: name it with --table";
                return Err(Error::invalid(format!("making scope {name:?}"), why));
            }
            let mut said = Said { name: name.clone(), tables: rules, paths: paths.clone() };
            if *add {
                let before = engine.scope(name)?;
                let Said { tables, paths, .. } = before.said().clone();
                // Anew for the tables that are named.
                let named = |old: &Rule| said.tables.iter().any(|new| new.table == old.table);
                let mut all: Vec<Rule> = tables.into_iter().filter(|old| !named(old)).collect();
                all.append(&mut said.tables);
                said.tables = all;
                let mut all: Vec<String> = paths.into_iter().filter(|old| !said.paths.contains(old)).collect();
                all.append(&mut said.paths);
                said.paths = all;
            }
            let named = Named::new(said)?;
            if engine.read(|node| scopes::load(node, name))?.ok().flatten().as_ref() == Some(&named) {
                return Ok(Report { scopes: vec![shown(&named)], transaction: None, position: position(&engine)? });
            }
            let committed = engine.commit(None, vec![named.write()])?;
            let transaction = Some(token::of_dot(&committed.dot));
            Ok(Report { scopes: vec![shown(&named)], transaction, position: token::of_wait(&committed.position) })
        }
        Request::Show { name } => {
            let names = match name {
                Some(name) => vec![name.clone()],
                None => engine.scope_names()?,
            };
            let scopes = names.iter().map(|name| Ok(shown(&*engine.scope(name)?))).collect::<Result<_>>()?;
            Ok(Report { scopes, transaction: None, position: position(&engine)? })
        }
        Request::Remove { name } => {
            if !engine.scope_names()?.contains(name) {
                engine.scope(name)?;
            }
            let write = Write { row: scopes::row_of(name), value: None };
            let committed = engine.commit(None, vec![write])?;
            let transaction = Some(token::of_dot(&committed.dot));
            Ok(Report { scopes: Vec::new(), transaction, position: token::of_wait(&committed.position) })
        }
    }
}

fn position(engine: &Engine) -> Result<String> {
    Ok(token::of_context(&engine.read(Node::context)?))
}

fn rule(engine: &Engine, table: &str, condition: Option<&str>, columns: Option<&[String]>) -> Result<Rule> {
    if condition.is_none() && columns.is_none() && table.contains(['*', '?']) {
        return Ok(Rule { table: table.to_owned(), condition: None, columns: None });
    }
    if table.contains(['*', '?']) {
        let why = "--where and --columns are of one table, whose key is known: name it without * and ?";
        return Err(Error::invalid(format!("making a scope of {table:?}"), why));
    }
    let found = engine.table(table)?;
    let found: &Definition = &found;
    scopes::rule(found, condition, columns)
}

fn shown(named: &Named) -> Shown {
    let rule = |rule: &Rule| ShownRule {
        table: rule.table.clone(),
        condition: rule.condition.as_ref().map(|condition| condition.text.clone()),
        columns: rule.columns.as_ref().map(|given| given.iter().map(|given| given.name.clone()).collect()),
    };
    Shown {
        scope: named.name().to_owned(),
        version: named.version(),
        tables: named.said().tables.iter().map(rule).collect(),
        paths: named.said().paths.clone(),
    }
}
