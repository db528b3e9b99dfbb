//! Faults: a backend that fails as disks and networks do, for tests.
//!
//! After a `Cut` or `Die` the process that used the backend counts as dead: every further call fails. Open a new store on the
//! backend below, which holds what a crash at that point would have left.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use syncline_base::Kind;

use super::{Call, Op, span, total};
use crate::backend::{Backend, Caps, Guard, Upload, Version};
use crate::error::{Error, Result};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It fails with this kind and has no effect.
    Fail(Kind),
    /// It takes effect, and fails with `unavailable`.
    LostReply,
    /// The process dies before it.
    Die,
    /// The process dies while it writes: an append leaves so many of its bytes. Whole-object writes leave nothing.
    Cut(u64),
    /// An append fails with `unavailable` (a full disk, a bad sector) after so many of its bytes; the process lives.
    Short(u64),
    /// One bit of what is read is wrong.
    Flip(u64),
}

type Plan = Box<dyn FnMut(&Call<'_>) -> Fault + Send>;

struct Shared {
    inner: Arc<dyn Backend>,
    plan: Mutex<Plan>,
    dead: AtomicBool,
}

/// A backend with faults.
#[derive(Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("inner", &self.shared.inner).finish_non_exhaustive()
    }
}

impl Faults {
    /// Faults around a backend; `plan` decides for every call.
    pub fn new(inner: Arc<dyn Backend>, plan: impl FnMut(&Call<'_>) -> Fault + Send + 'static) -> Self {
        Self { shared: Arc::new(Shared { inner, plan: Mutex::new(Box::new(plan)), dead: AtomicBool::new(false) }) }
    }

    /// Whether the process counts as dead.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.shared.dead.load(Ordering::SeqCst)
    }

    fn die(&self, call: &Call<'_>) -> Error {
        self.shared.dead.store(true, Ordering::SeqCst);
        fault(Kind::Unavailable, call, "the process has died")
    }

    fn next(&self, call: &Call<'_>) -> Result<Fault> {
        if self.is_dead() {
            return Err(fault(Kind::Unavailable, call, "the process has died"));
        }
        let fault_now = self.shared.plan.lock().expect("no code panics while it plans")(call);
        match fault_now {
            Fault::Die => Err(self.die(call)),
            Fault::Fail(kind) => Err(fault(kind, call, "a fault was injected")),
            other => Ok(other),
        }
    }

    /// Runs a call that has an effect whole or not at all.
    fn whole<T>(&self, call: &Call<'_>, run: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.next(call)? {
            Fault::Cut(_) => Err(self.die(call)),
            Fault::Short(_) => Err(fault(Kind::Unavailable, call, "no space is left")),
            Fault::LostReply => run().and_then(|_| Err(fault(Kind::Unavailable, call, "the reply was lost"))),
            _ => run(),
        }
    }

    fn read_with(&self, call: &Call<'_>, run: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        let fault_now = self.next(call)?;
        let bytes = run()?;
        match fault_now {
            Fault::Flip(bit) if !bytes.is_empty() => {
                let mut wrong = BytesMut::from(&bytes[..]);
                let at = usize::try_from(bit / 8 % bytes.len() as u64).expect("within the bytes");
                wrong[at] ^= 1 << (bit % 8);
                Ok(wrong.freeze())
            }
            Fault::LostReply => Err(fault(Kind::Unavailable, call, "the reply was lost")),
            _ => Ok(bytes),
        }
    }
}

fn fault(kind: Kind, call: &Call<'_>, reason: &str) -> Error {
    let action = match call.op {
        Op::Read => "reading",
        Op::List => "listing",
        Op::Write => "writing",
        Op::Publish => "publishing",
        Op::Delete => "deleting",
        Op::Lock => "locking",
    };
    Error::backend(kind, action, call.name, "a faulty place", reason)
}

/// The first `limit` bytes of `parts`.
fn cut(parts: &[Bytes], limit: u64) -> Bytes {
    let whole = parts.concat();
    let end = usize::try_from(limit).unwrap_or(usize::MAX).min(whole.len());
    Bytes::from(whole).slice(..end)
}

impl Backend for Faults {
    fn describe(&self) -> String {
        self.shared.inner.describe()
    }

    fn caps(&self) -> Caps {
        self.shared.inner.caps()
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let call = Call { op: Op::Read, name, bytes: span(&range) };
        self.read_with(&call, || self.shared.inner.read(name, range))
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        self.whole(&Call { op: Op::List, name, bytes: 0 }, || self.shared.inner.size(name))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn Upload>> {
        let call = Call { op: Op::Publish, name, bytes: 0 };
        let inner = self.whole(&call, || self.shared.inner.create(name))?;
        Ok(Arc::new(FaultyUpload { faults: self.clone(), inner, name: name.to_owned() }))
    }

    fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let call = Call { op: Op::Write, name, bytes: bytes.len() as u64 };
        self.whole(&call, || self.shared.inner.put(name, bytes))
    }

    fn append(&self, name: &str, at: u64, parts: &[Bytes]) -> Result<()> {
        let call = Call { op: Op::Write, name, bytes: total(parts) };
        match self.next(&call)? {
            Fault::Cut(limit) => {
                self.shared.inner.append(name, at, &[cut(parts, limit)])?;
                Err(self.die(&call))
            }
            Fault::Short(limit) => {
                self.shared.inner.append(name, at, &[cut(parts, limit)])?;
                Err(fault(Kind::Unavailable, &call, "no space is left"))
            }
            Fault::LostReply => {
                self.shared.inner.append(name, at, parts)?;
                Err(fault(Kind::Unavailable, &call, "the reply was lost"))
            }
            _ => self.shared.inner.append(name, at, parts),
        }
    }

    fn sync_name(&self, name: &str) -> Result<()> {
        self.whole(&Call { op: Op::Write, name, bytes: 0 }, || self.shared.inner.sync_name(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        self.whole(&Call { op: Op::List, name: prefix, bytes: 0 }, || self.shared.inner.list(prefix))
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.whole(&Call { op: Op::Delete, name, bytes: 0 }, || self.shared.inner.delete(name))
    }

    fn read_versioned(&self, name: &str) -> Result<Option<(Bytes, Version)>> {
        self.whole(&Call { op: Op::Read, name, bytes: 0 }, || self.shared.inner.read_versioned(name))
    }

    fn swap(&self, name: &str, expect: Option<&Version>, bytes: Bytes) -> Result<Version> {
        let call = Call { op: Op::Write, name, bytes: bytes.len() as u64 };
        self.whole(&call, || self.shared.inner.swap(name, expect, bytes))
    }

    fn lock(&self, name: &str) -> Result<Option<Box<dyn Guard>>> {
        self.whole(&Call { op: Op::Lock, name, bytes: 0 }, || self.shared.inner.lock(name))
    }

    fn clean(&self, age_ms: u64) -> Result<()> {
        self.whole(&Call { op: Op::Delete, name: "", bytes: 0 }, || self.shared.inner.clean(age_ms))
    }
}

#[derive(Debug)]
struct FaultyUpload {
    faults: Faults,
    inner: Arc<dyn Upload>,
    name: String,
}

impl FaultyUpload {
    fn call(&self, op: Op, bytes: u64) -> Call<'_> {
        Call { op, name: &self.name, bytes }
    }
}

impl Upload for FaultyUpload {
    fn write(&self, parts: &[Bytes]) -> Result<()> {
        // A write of an upload that failed has added nothing: a lost reply cannot happen within a process.
        let call = self.call(Op::Write, total(parts));
        match self.faults.next(&call)? {
            Fault::Cut(_) => Err(self.faults.die(&call)),
            Fault::Short(_) | Fault::LostReply => Err(fault(Kind::Unavailable, &call, "no space is left")),
            _ => self.inner.write(parts),
        }
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.faults.read_with(&self.call(Op::Read, span(&range)), || self.inner.read(range))
    }

    fn publish(&self) -> Result<()> {
        let call = self.call(Op::Publish, 0);
        match self.faults.next(&call)? {
            Fault::Cut(_) => Err(self.faults.die(&call)),
            Fault::Short(_) => Err(fault(Kind::Unavailable, &call, "no space is left")),
            Fault::LostReply => {
                self.inner.publish()?;
                Err(fault(Kind::Unavailable, &call, "the reply was lost"))
            }
            _ => self.inner.publish(),
        }
    }
}
