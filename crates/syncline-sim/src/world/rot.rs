//! Rows that a disk or memory gives back otherwise than they were written, and replicas that take them anew.
//!
//! In some worlds a running machine's rows change now and then without anybody having written them. It notices at once, as the product does by
//! checksums, or because somebody compared, and takes another machine's rows. Until then it is not judged by what it holds: it must not show it
//! or send it, which the others are judged by. A crash ends that: what its log gives is right.

use syncline_base::rng::Rng;

use super::clients::row;
use super::{Failure, World};
use crate::profile::KEYS;
use crate::sights::Sight;

/// Chance of its own, in one of 8 worlds: what others do is as it was without rot.
pub(super) fn chance(seed: u64) -> Option<Rng> {
    let mut rng = Rng::from_seed(seed ^ 0x0072_6f74);
    (rng.below(8) == 0).then_some(rng)
}

impl World {
    pub(super) fn rot_some(&mut self) -> Result<(), Failure> {
        let Some(rng) = self.rot.as_mut().filter(|_| self.profile.rots) else { return Ok(()) };
        if rng.below(48) > 0 {
            return Ok(());
        }
        let at = rng.below(self.machines.len() as u64) as usize;
        let (lost, other) = (rng.below(u64::from(KEYS)) as u8, rng.below(u64::from(KEYS)) as u8);
        // Somebody has to have what is right.
        let whole = self.machines.iter().enumerate().any(|(other, machine)| other != at && !machine.may_scope);
        if !whole || self.machines.iter().any(|machine| machine.renews()) {
            return Ok(());
        }
        let now = self.now(at);
        let machines = self.machines.len();
        let Some(node) = &mut self.machines[at].node else { return Ok(()) };
        node.damage(row(lost), row(other));
        node.renew(now);
        (0..machines).filter(|other| *other != at).for_each(|other| node.may_renew_from(other as u64));
        self.sights.saw(Sight::Rotten);
        self.tell(|| format!("row {lost} of {at} is damaged, and it takes all rows anew"));
        self.absorb(at, None)
    }
}
