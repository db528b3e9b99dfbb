//! Tags in transfers: which ones come and go, and what becomes of one that is elsewhere on the other side.
//!
//! A transfer makes tags and never moves one: where both sides have a tag of one name at two versions, both keep theirs and
//! the report names it. A tag is only taken when its version is here with its data; that is asked when the names change, so
//! that `gc` cannot give the version up in between.
//!
//! Owns no state. Not here: making and removing tags by hand (`crate::ops::branch`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_store::Store;
use syncline_sync::wire::{Left, MAX_NAMES};
use syncline_tree::{Refs, refs};

use crate::local::TAGS;
use crate::{Error, Result, reach};

/// What a transfer did with tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// Tags that are new here.
    pub received: Vec<Tag>,
    /// Tags that are new on the other side.
    pub sent: Vec<Tag>,
    /// Tags that name one version here and another one there. Both stay as they are.
    pub clashes: Vec<Clash>,
    /// Tags that one side does not have now, because it does not have their versions.
    pub left: Vec<LeftOut>,
}

/// A tag and the commit that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// The commit.
    pub commit: Hash,
}

/// A tag that names one version here and another one on the other side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clash {
    /// Its name.
    pub name: String,
    /// The commit that it names here.
    pub ours: Hash,
    /// The commit that it names there.
    pub theirs: Hash,
}

/// A tag that was not made on one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// The commit that it names on the side that has it.
    pub commit: Hash,
    /// Why it was not made.
    pub why: String,
}

/// Why a tag was not taken here.
const GIVEN_UP: &str = "`gc` has given up the data of its version here";
/// Why a tag was not made on the other side.
const NOT_THERE: &str =
    "the other side does not have its version, and this replica does not have all that would have to be sent";

impl Tags {
    /// Notes what was pulled. What an earlier try of the same transfer found out is replaced.
    pub(crate) fn note_pulled(&mut self, pulled: &[(String, Hash)], taken: Taken) {
        self.clashes.clear();
        self.left.clear();
        self.received.extend(taken.made.into_iter().map(|(name, commit)| Tag { name, commit }));
        let theirs: BTreeMap<&str, Hash> =
            pulled.iter().filter_map(|(full, id)| Some((full.strip_prefix(TAGS)?, *id))).collect();
        for (name, ours) in taken.left {
            let theirs = theirs.get(name.as_str()).copied();
            self.note(name, ours, theirs, GIVEN_UP);
        }
    }

    /// Notes what was pushed: the tags of `asked` that are new there, and those that the other side has `left`.
    pub(crate) fn note_pushed(&mut self, asked: &[Tag], made: &BTreeSet<String>, left: &[Left]) {
        let left: BTreeMap<&str, Option<Hash>> = left.iter().map(|(name, at)| (name.as_str(), *at)).collect();
        for tag in asked {
            let full = format!("{TAGS}{}", tag.name);
            if made.contains(&full) {
                self.sent.push(tag.clone());
            }
            if let Some(theirs) = left.get(full.as_str()) {
                self.note(tag.name.clone(), Some(tag.commit), *theirs, NOT_THERE);
            }
        }
    }

    fn note(&mut self, name: String, ours: Option<Hash>, theirs: Option<Hash>, why: &str) {
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => self.clashes.push(Clash { name, ours, theirs }),
            (Some(commit), None) | (None, Some(commit)) => {
                self.left.push(LeftOut { name, commit, why: why.to_owned() });
            }
            (None, None) => {}
        }
    }
}

/// What became of tags that came from another replica.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// New here.
    pub(crate) made: Vec<(String, Hash)>,
    /// Not made, and where they are here.
    pub(crate) left: Vec<(String, Option<Hash>)>,
}

/// Takes tags of another replica into the names that are being changed. Their versions are here; whether `gc` was told to
/// give them up since is asked now.
///
/// # Errors
/// `invalid` for a name that is none, and when there would be more names than a transfer takes; the store's.
pub(crate) fn take<'a>(store: &Store, refs: &mut Refs, tags: impl Iterator<Item = (&'a str, Hash)>) -> Result<Taken> {
    // Looked for when there is a new tag: most transfers bring none.
    let mut given_up = None;
    let mut taken = Taken::default();
    for (name, id) in tags {
        refs::check_name(name)?;
        if let Some(at) = refs.tags.get(name) {
            taken.left.extend((*at != id).then(|| (name.to_owned(), Some(*at))));
            continue;
        }
        if given_up.is_none() {
            given_up = Some(reach::given_up(store, refs)?);
        }
        if given_up.as_ref().is_some_and(|gone| gone.contains(&id)) {
            taken.left.push((name.to_owned(), None));
        } else {
            refs.take_tag(name, id);
            taken.made.push((name.to_owned(), id));
        }
    }
    if !taken.made.is_empty() && refs.branches.len() + refs.tags.len() > MAX_NAMES {
        let why =
            format!("with them there would be more than {MAX_NAMES} names, and no transfer takes more: remove some");
        return Err(Error::invalid(format!("taking {} tags", taken.made.len()), why));
    }
    Ok(taken)
}
