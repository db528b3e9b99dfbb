//! Who is connected: each connection has a place, and who does not show soon that it may be here loses it.
//!
//! A connection is a stranger's until a request on it has passed the token's check. A stranger is let go when its patience
//! is over (without a handshake, an HTTP/2 preface, a request or the right token), or earlier, the one that came first
//! before the others, when somebody else comes and every place is taken. So silence, in whatever number, keeps nobody out.
//!
//! State: the places that are left, and the strangers that are here. Nothing of it survives, and nothing has to.
//!
//! Not here: how many requests may run at once (`grpc`), and connections whose peer has died (HTTP/2 pings find them).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

/// How long a node waits after it could not take a connection: until files are closed, the next one cannot be taken either.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections may be open for so many sessions, beside those of replicas that stay: commands that wait for their turn or look
/// around need some, too. At most half of the files that the process may open, for the other half is the stores'.
pub(crate) fn places(sessions: usize, replicas: usize, files: usize) -> usize {
    sessions.saturating_mul(4).saturating_add(64).saturating_add(replicas).min(files / 2).max(8)
}

/// Raises the number of files that this process may open as far as it may itself, and says how many these are.
pub(crate) fn open_files() -> usize {
    #[cfg(unix)]
    let files = {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, ..limit };
        // Some systems have a limit that they do not tell: then it stays as it is.
        if setrlimit(Resource::Nofile, raised).is_ok() { raised.current } else { limit.current }
    };
    #[cfg(not(unix))]
    let files: Option<u64> = None;
    files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Has the system give this process memory in small pages. Of large ones each is cleared as a whole when something in it is first written to, in
/// the middle of somebody's request, and counts as a whole: a node with many connections, of which each has a little, took twice the memory and
/// answered late.
pub(crate) fn small_pages() {
    // Where it cannot be had, a node is as fast as it is.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
}

/// The places of a node, and the strangers that hold some of them.
#[derive(Debug)]
pub(crate) struct Room {
    places: Arc<Semaphore>,
    strangers: Mutex<Strangers>,
    /// How long a stranger may stay.
    patience: Duration,
}

#[derive(Debug, Default)]
struct Strangers {
    /// The number that the next one gets.
    next: u64,
    /// By number, so in the order in which they came. Taken out: it is known. Sent to: it has to go.
    here: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Room {
    /// Room for so many connections, and for each stranger for so long.
    pub(crate) fn new(places: usize, patience: Duration) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { places, strangers: Mutex::default(), patience })
    }

    fn strangers(&self) -> std::sync::MutexGuard<'_, Strangers> {
        self.strangers.lock().expect("no code panics while it holds the strangers")
    }

    /// Lets the stranger go that came first; says whether there was one.
    fn let_one_go(&self) -> bool {
        loop {
            let Some((_, stranger)) = self.strangers().here.pop_first() else { return false };
            // One whose connection has just ended has gone already.
            if stranger.send(()).is_ok() {
                return true;
            }
        }
    }

    fn welcome(self: &Arc<Self>, stream: TcpStream, address: SocketAddr, place: OwnedSemaphorePermit) -> Connection {
        let (sender, told) = oneshot::channel();
        let mut strangers = self.strangers();
        let number = strangers.next;
        strangers.next += 1;
        strangers.here.insert(number, sender);
        drop(strangers);
        let caller = Caller { address, number, room: Arc::clone(self) };
        let standing = Standing::Stranger { told, until: Box::pin(tokio::time::sleep(self.patience)) };
        Connection { stream, caller, standing, _place: place }
    }
}

/// Takes connections and hands them on until nobody takes them any more; strangers that are still here then have to go.
pub(crate) async fn accept(listener: TcpListener, room: Arc<Room>, incoming: mpsc::Sender<io::Result<Connection>>) {
    let mut troubled = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = incoming.closed() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !std::mem::replace(&mut troubled, true) {
                    tracing::warn!(%error, "connections cannot be taken for now");
                }
                after(&error, &room).await;
                continue;
            }
        };
        troubled = false;
        let place = tokio::select! {
            place = place(&room) => place,
            () = incoming.closed() => break,
        };
        // What is sent is sent at once: an answer that waits for more to come with it comes late.
        let _ = stream.set_nodelay(true);
        if incoming.send(Ok(room.welcome(stream, address, place))).await.is_err() {
            break;
        }
    }
    while room.let_one_go() {}
}

/// A place for one that has come; when none is left, a stranger has to go.
async fn place(room: &Room) -> OwnedSemaphorePermit {
    if let Ok(place) = Arc::clone(&room.places).try_acquire_owned() {
        return place;
    }
    room.let_one_go();
    Arc::clone(&room.places).acquire_owned().await.expect("nobody closes it")
}

/// What to do when a connection could not be taken.
async fn after(error: &io::Error, room: &Room) {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    // It ended before it was taken. The next one is as good as any.
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        return;
    }
    room.let_one_go();
    tokio::time::sleep(PAUSE).await;
}

/// Who a request comes from.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    address: SocketAddr,
    number: u64,
    room: Arc<Room>,
}

impl Caller {
    /// Where it is, for messages.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// It is no stranger any more.
    pub(crate) fn let_in(&self) {
        self.room.strangers().here.remove(&self.number);
    }
}

/// A connection that has a place.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    caller: Caller,
    standing: Standing,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Standing {
    Stranger { told: oneshot::Receiver<()>, until: Pin<Box<Sleep>> },
    Known,
    Gone,
}

impl Connection {
    /// Fails when it has to go. Whoever waits for this connection is woken when that changes.
    fn may_stay(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Standing::Stranger { told, until } = &mut self.standing {
            self.standing = match Pin::new(told).poll(cx) {
                Poll::Ready(Err(_)) => Standing::Known,
                Poll::Ready(Ok(())) => Standing::Gone,
                Poll::Pending if until.as_mut().poll(cx).is_ready() => Standing::Gone,
                Poll::Pending => return Ok(()),
            };
        }
        match self.standing {
            Standing::Gone => Err(io::Error::new(ErrorKind::TimedOut, "nothing was said that lets it stay")),
            _ => Ok(()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.caller.let_in();
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.may_stay(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.may_stay(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.may_stay(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
