//! Which columns of two schemas are one column.
//!
//! Ids label cells inside the leaves of one table; two branches that each add a column give the same id to both, and a merge
//! renumbers one of them. What stays with a column on every branch is its origin: the name that it was made under.
//! Owns nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Column, Schema, Type};

impl Column {
    /// What tells the column apart in all versions of its table, whatever it is called and numbered there.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.born.as_deref().unwrap_or(&self.name)
    }
}

impl Schema {
    /// What a new column of this name must note to have an origin of its own; nothing where the name is free.
    ///
    /// The name of a column that was dropped is free: who adds it again means the same, and its cells start as nulls.
    pub(crate) fn free_origin(&self, name: &str) -> Option<String> {
        let taken: BTreeSet<&str> = self.columns.iter().map(Column::origin).collect();
        if !taken.contains(name) {
            return None;
        }
        (2_u64..).map(|n| format!("{name}#{n}")).find(|origin| !taken.contains(&origin[..]))
    }

    /// For each id of a column of this schema the id that the same column has in another version: by origin, then by name
    /// (tables that were made apart), if one type holds what the other does.
    #[must_use]
    pub fn matches(&self, other: &Self) -> BTreeMap<u32, u32> {
        let mut found = BTreeMap::new();
        let mut taken = BTreeSet::new();
        let keys: [fn(&Column) -> &str; 2] = [Column::origin, |column| &column.name];
        for key in keys {
            let there: BTreeMap<&str, &Column> = other.columns.iter().map(|column| (key(column), column)).collect();
            for column in &self.columns {
                if found.contains_key(&column.id) {
                    continue;
                }
                let Some(other) = there.get(key(column)).filter(|other| !taken.contains(&other.id)) else { continue };
                if agree(&column.ty, &other.ty) {
                    found.insert(column.id, other.id);
                    taken.insert(other.id);
                }
            }
        }
        found
    }

    /// The ids that change for the columns of this schema to be read under another one, given those that `matched`: what is not
    /// there gets an id that neither has.
    pub(crate) fn renumbering(&self, matched: &BTreeMap<u32, u32>, other: &Self) -> BTreeMap<u32, u32> {
        let used = |id: &u32| self.position(*id).is_some() || other.position(*id).is_some();
        let mut free = (0..=u32::MAX).rev().filter(|id| !used(id));
        let ids = self.columns.iter().map(|column| column.id);
        ids.filter_map(|id| match matched.get(&id) {
            Some(to) => Some((id, *to)),
            None if other.position(id).is_some() => free.next().map(|to| (id, to)),
            None => None,
        })
        .filter(|(id, to)| id != to)
        .collect()
    }

    /// The columns under other ids, in the order that they had.
    pub(crate) fn renumbered(&self, ids: &BTreeMap<u32, u32>) -> Self {
        let mut schema = self.clone();
        for id in schema.columns.iter_mut().map(|column| &mut column.id).chain(&mut schema.key) {
            *id = ids.get(id).copied().unwrap_or(*id);
        }
        schema
    }
}

/// Whether one type holds what the other does.
fn agree(one: &Type, other: &Type) -> bool {
    one.widens_to(other) || other.widens_to(one)
}
