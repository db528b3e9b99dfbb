//! The end of a session at the receiving side: what was promised is checked and made durable, then refs move.
//!
//! Branches move first, one by one; a fault ends the session there. Tags that are only made follow, all in one step: one that
//! cannot be made is told to the peer and keeps nothing back.

use std::collections::{BTreeMap, BTreeSet};

use syncline_base::Hash;
use syncline_store::Store;
use syncline_tree::refs;

use super::{Phase, Purpose, Receiver};
use crate::error::{Error, Result};
use crate::have::Have;
use crate::history;
use crate::session::{Moved, RefMove, TAGS};
use crate::wire::{self, Left, Message, Move, NamedRef};

/// The refs that a pusher asks for, and what has become of them.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// To be moved, with `expected` filled in.
    moves: Vec<RefMove>,
    /// Tags to be made.
    make: Vec<NamedRef>,
    /// Tags that were not made.
    left: Vec<Left>,
    /// What was moved and made.
    pub(super) moved: Vec<Moved>,
}

impl Moves {
    /// What is asked for, and where the refs that it names are now.
    pub(super) fn of(asked: Vec<Move>, refs: &BTreeMap<String, Hash>) -> Result<(Self, Vec<NamedRef>)> {
        let (mut this, mut named) = (Self::default(), Vec::new());
        for step in asked {
            let current = refs.get(&step.name).copied();
            named.extend(current.map(|id| (step.name.clone(), id)));
            if step.flags & wire::NEW != 0 {
                this.ask_for_tag(step, current)?;
                continue;
            }
            let expected = step.expected.or(current);
            if expected != current {
                return Err(Error::Moved { name: step.name, expected, theirs: current });
            }
            this.moves.push(RefMove {
                name: step.name,
                expected,
                target: step.target,
                force: step.flags & wire::FORCE != 0,
                allow_mass_delete: step.flags & wire::MASS_DELETE != 0,
                only_new: false,
            });
        }
        // More could not be pulled from here.
        if refs.len() + this.make.len() > wire::MAX_NAMES {
            let why = format!("{} names with those that are pushed, and at most {} fit", refs.len(), wire::MAX_NAMES);
            return Err(Error::Invalid(format!("the replica there would have more than {why}: remove some")));
        }
        Ok((this, named))
    }

    fn ask_for_tag(&mut self, step: Move, current: Option<Hash>) -> Result<()> {
        let tag = step.name.strip_prefix(TAGS).filter(|_| step.expected.is_none()).zip(step.target);
        let Some((name, target)) = tag else {
            return Err(Error::protocol(
                "hello",
                format!("{:?} cannot be made: it is no tag with a target", step.name),
            ));
        };
        refs::check_name(name)?;
        match current {
            Some(at) if at != target => self.left.push((step.name, Some(at))),
            Some(_) => {}
            None => self.make.push((step.name, target)),
        }
        Ok(())
    }
}

impl Receiver<'_> {
    /// The sender has said everything: check, make durable, move refs.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.assembly.is_some() || !self.deltas.is_empty() || self.comparing.is_some() {
            return Err(Error::protocol("finish", "an object or a delta is still open"));
        }
        self.keep_past()?;
        self.flush()?;
        if !self.came.is_empty() {
            self.local.keep_whole(&self.came)?;
        }
        // What came may also be what other histories here ended before.
        if !self.shallow.is_empty() || !self.local.shallow()?.is_empty() {
            self.local.keep_shallow(&self.shallow.iter().copied().collect::<Vec<_>>())?;
        }
        let mut left = Vec::new();
        match &mut self.purpose {
            Purpose::Pull { result } => {
                let checked = check_pulled(&mut result.refs, &mut self.have, self.follow);
                if checked.is_err() {
                    // A peer that was told of our heads takes it that all of their history is here.
                    history::check(&self.store, &self.heads, &self.local.shallow()?)?;
                }
                checked?;
            }
            Purpose::Push(Moves { moves, make, left: kept, moved }) => {
                for step in moves.iter() {
                    check_move(&self.store, &mut self.have, step)?;
                    self.local.move_ref(step, &self.came)?;
                    moved.push(Moved { name: step.name.clone(), old: step.expected, new: step.target });
                }
                left.append(kept);
                let whole = self.have.has_commits(&make.iter().map(|(_, id)| *id).collect::<Vec<_>>())?;
                let (make, lacking): (Vec<_>, Vec<_>) = make.drain(..).partition(|(_, id)| whole.contains(id));
                left.extend(lacking.into_iter().map(|(name, _)| (name, None)));
                if !make.is_empty() {
                    let kept = self.local.make_tags(&make, &self.came)?;
                    let names: BTreeSet<&String> = kept.iter().map(|(name, _)| name).collect();
                    let made = make.into_iter().filter(|(name, _)| !names.contains(name));
                    moved.extend(made.map(|(name, id)| Moved { name, old: None, new: Some(id) }));
                    left.extend(kept);
                }
            }
        }
        self.outbox.push_back(Message::Done { left });
        self.phase = Phase::Over;
        Ok(())
    }
}

/// Everything that was asked for has to be here. With `follow` tags were not asked for.
fn check_pulled(refs: &mut Vec<NamedRef>, have: &mut Have, follow: bool) -> Result<()> {
    let whole = have.has_commits(&refs.iter().map(|(_, id)| *id).collect::<Vec<_>>())?;
    if follow {
        refs.retain(|(name, id)| whole.contains(id) || !name.starts_with(TAGS));
    }
    match refs.iter().find(|(_, id)| !whole.contains(id)) {
        Some((name, id)) => Err(Error::protocol("finish", format!("{name} at {} was not sent", id.short()))),
        None => Ok(()),
    }
}

/// A ref may only move to something complete that follows from where it is.
fn check_move(store: &Store, have: &mut Have, step: &RefMove) -> Result<()> {
    let Some(target) = step.target else { return Ok(()) };
    if !have.has_commit(target)? {
        return Err(Error::protocol(
            "push",
            format!("{} is to move to {}, which was not sent", step.name, target.short()),
        ));
    }
    if let Some(old) = step.expected.filter(|_| !step.force)
        && !history::reaches(store, &[target], old)?
    {
        return Err(Error::Moved { name: step.name.clone(), expected: Some(target), theirs: Some(old) });
    }
    Ok(())
}
