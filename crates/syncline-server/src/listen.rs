//! The socket: where to listen, with which safety, and how to stop.
//!
//! Without TLS and a token a node listens on loopback only. Shutting down takes no new requests, lets running ones end
//! for a while, then cuts them: a cut transfer is resumed by the peer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use syncline_api::Target;
use syncline_api::client::{CONNECTION_WINDOW, STREAM_WINDOW};
use syncline_api::pipe::Limits;
use syncline_api::v1::node_server::NodeServer;
use syncline_base::{Clock, Kind, SystemClock};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::auth::Auth;
use crate::connections::{self, Room};
use crate::contents::Exchanges;
use crate::error::{Error, Result};
use crate::grpc::Service;
use crate::hub::Hub;
use crate::live::{Role, Upstream, follow};
use crate::members::{Means, Membership, Meshes};

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Tls {
    /// The certificate chain.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// How a node listens.
#[derive(Clone)]
pub struct Settings {
    /// Where. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS; needed off loopback.
    pub tls: Option<Tls>,
    /// The token that clients have to give; needed off loopback.
    pub token: Option<String>,
    /// Budgets of each stream.
    pub limits: Limits,
    /// How many sessions and calls may run at once.
    pub sessions: usize,
    /// How many replicas may stay connected beside them.
    pub replicas: usize,
    /// For the rate limit.
    pub clock: Arc<dyn Clock>,
    /// How hubs learn of each other; they do not without.
    pub members: Option<Membership>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], syncline_api::target::DEFAULT_PORT)),
            tls: None,
            token: None,
            limits: Limits::default(),
            sessions: 64,
            replicas: 8192,
            clock: Arc::new(SystemClock),
            members: None,
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the token.
        f.debug_struct("Settings").field("listen", &self.listen).field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl Settings {
    /// Refuses what would put data on the network unprotected.
    ///
    /// # Errors
    /// `Invalid`, with what is lacking.
    pub fn check(&self) -> Result<()> {
        if let Some(members) = &self.members {
            members.check()?;
        }
        if self.token.as_deref().is_some_and(|token| token.len() < 16) {
            return Err(Error::Settings("the token is too short to be safe: use 16 characters or more".into()));
        }
        if self.listen.ip().is_loopback() || (self.tls.is_some() && self.token.is_some()) {
            return Ok(());
        }
        let lacks = match (&self.tls, &self.token) {
            (None, None) => "a certificate, a key and a token (--tls-cert, --tls-key, --token)",
            (None, Some(_)) => "a certificate and a key (--tls-cert, --tls-key)",
            _ => "a token (--token)",
        };
        Err(Error::Settings(format!(
            "{} can be reached from other machines: listening there needs {lacks}; or listen on 127.0.0.1",
            self.listen
        )))
    }
}

/// A node that is listening.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: Option<JoinHandle<std::result::Result<(), tonic::transport::Error>>>,
    runtime: Option<Runtime>,
    exchanges: Arc<Exchanges>,
    meshes: Option<Arc<Meshes>>,
}

/// The innermost reason: what is around it says only "transport error".
fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    match error.to_string().as_str() {
        "transport error" => "they are no PEM files, or do not belong together".to_owned(),
        reason => reason.to_owned(),
    }
}

/// How long running requests may go on after a stop.
const GRACE: Duration = Duration::from_secs(10);

/// Listens and serves in the background until it is stopped. Lets this process open as many files as it may, and gives it memory in small
/// pages.
///
/// # Errors
/// `Invalid` for settings that are not safe; the operating system's when the socket cannot be had.
pub fn start(settings: &Settings, hub: Arc<Hub>) -> Result<Running> {
    settings.check()?;
    connections::small_pages();
    let listen_error = |error: &std::io::Error| Error::Listen {
        address: settings.listen.to_string(),
        reason: match error.kind() {
            std::io::ErrorKind::AddrInUse => "another program listens there; stop it or use another port".to_owned(),
            _ => error.to_string(),
        },
        kind: match error.kind() {
            std::io::ErrorKind::AddrInUse => Kind::Unavailable,
            _ => Kind::of_io(error),
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("syncline-server")
        .max_blocking_threads(settings.sessions.saturating_add(16))
        .enable_all()
        .build()
        .map_err(|error| listen_error(&error))?;
    let listener = runtime.block_on(TcpListener::bind(settings.listen)).map_err(|error| listen_error(&error))?;
    let address = listener.local_addr().map_err(|error| listen_error(&error))?;
    let cap = settings.limits.message_bytes.saturating_add(1 << 10);
    let (stop, mut stopped) = watch::channel(false);
    let exchanges = Arc::<Exchanges>::default();
    let means = Means {
        hub: Arc::clone(&hub),
        runtime: runtime.handle().clone(),
        clock: Arc::clone(&settings.clock),
        exchanges: Arc::clone(&exchanges),
        stopped: stopped.clone(),
    };
    let meshes = settings.members.clone().map(|members| {
        Meshes::new(members, listens(address, settings.tls.is_some()), settings.token.as_deref(), means)
    });
    let service = Service {
        hub,
        limits: settings.limits,
        clock: Arc::clone(&settings.clock),
        slots: Arc::new(Semaphore::new(settings.sessions)),
        slots_max: settings.sessions,
        stopped: stopped.clone(),
        meshes: meshes.clone(),
    };
    let service = NodeServer::new(service).max_decoding_message_size(cap).max_encoding_message_size(cap);
    let mut server = Server::builder()
        .initial_stream_window_size(Some(STREAM_WINDOW))
        .initial_connection_window_size(Some(CONNECTION_WINDOW))
        .http2_keepalive_interval(Some(settings.limits.keepalive().0))
        .http2_keepalive_timeout(Some(settings.limits.keepalive().1))
        .max_concurrent_streams(Some(64));
    if let Some(tls) = &settings.tls {
        let identity = Identity::from_pem(&tls.certificate, &tls.key);
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).map_err(|error| {
            Error::Settings(format!("the certificate or the key cannot be used: {}", cause(&error)))
        })?;
    }
    let router = server.add_service(InterceptedService::new(service, Auth::new(settings.token.as_deref())));
    let places = connections::places(settings.sessions, settings.replicas, connections::open_files());
    let room = Room::new(places, settings.limits.stall);
    let (taken, incoming) = mpsc::channel(1);
    runtime.spawn(connections::accept(listener, room, taken));
    let serving = runtime.spawn(router.serve_with_incoming_shutdown(ReceiverStream::new(incoming), async move {
        // An error means that `Running` is gone, which stops too.
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    Ok(Running { address, stop, serving: Some(serving), runtime: Some(runtime), exchanges, meshes })
}

/// A node that listens there, as an address.
fn listens(address: SocketAddr, secure: bool) -> Target {
    let host = match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    Target { secure, host, port: address.port(), dataset: String::new() }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http(s)://HOST:PORT` of this node, for messages.
    #[must_use]
    pub fn url(&self, secure: bool) -> String {
        format!("{}://{}", if secure { "https" } else { "http" }, self.address)
    }

    /// Keeps datasets connected to those of another node: the one that its address names, or all that it has. Those of an upstream take
    /// their transactions there; a peer is a hub beside this one. Of all that it has, those that come later are followed, too. `local` is what the one dataset is called here, when that is not
    /// what it is called there. Says which.
    ///
    /// # Errors
    /// `Invalid` when several are followed as one; `Unavailable` when the node does not answer and none was followed before.
    pub fn follow(&self, hub: &Arc<Hub>, local: Option<&str>, upstream: &Upstream, role: Role) -> Result<Vec<String>> {
        let Some(runtime) = &self.runtime else { return Ok(Vec::new()) };
        let names = follow::datasets(hub, upstream, role)?;
        if let (Some(local), true) = (local, upstream.target.dataset.is_empty()) {
            return Err(Error::Settings(format!(
                "following {} with one replica: it names no dataset; write {}{local}",
                upstream.target, upstream.target
            )));
        }
        let meshes = self.meshes.as_ref().map(Arc::downgrade);
        let mut followed = Vec::new();
        for name in names {
            let here = local.unwrap_or(&name);
            let of = upstream.of(&name);
            let engine = follow::prepare(hub, here, &of, role)?;
            runtime.spawn(follow::follow(here.to_owned(), engine, of.clone(), role, meshes.clone()));
            self.exchanges.begin(hub.dataset(here)?, of, self.stop.subscribe())?;
            followed.push(here.to_owned());
        }
        if upstream.target.dataset.is_empty() {
            let beside = (Arc::clone(&self.exchanges), self.stop.subscribe(), meshes);
            runtime.spawn(follow::follow_new(Arc::clone(hub), upstream.clone(), role, followed.clone(), beside));
        }
        Ok(followed)
    }

    /// Looks for the hubs that were beside this one when it ran last, whether it was given a peer or not.
    ///
    /// # Errors
    /// As [`Hub::datasets`].
    pub fn take_up_meshes(&self) -> Result<()> {
        self.meshes.as_ref().map_or(Ok(()), Meshes::take_up)
    }

    /// Takes no new requests, waits for the running ones for a while, and ends.
    pub fn stop(mut self) {
        self.shut_down(GRACE);
    }

    /// Watches for Ctrl-C and for a termination signal from now on.
    ///
    /// To be called before anybody is told that the node runs: a signal that nobody watches ends the process at once.
    ///
    /// # Errors
    /// The operating system's when the signals cannot be watched.
    pub fn signals(&self) -> Result<Signals> {
        let _inside = self.runtime.as_ref().map(Runtime::enter);
        Signals::watch().map_err(|error| Error::Listen {
            address: self.address.to_string(),
            reason: format!("watching for the signals that end it: {error}"),
            kind: Kind::of_io(&error),
        })
    }

    /// Serves until one of the signals comes, then stops.
    ///
    /// # Errors
    /// `Unavailable` when serving ended by itself.
    pub fn run(mut self, mut signals: Signals) -> Result<()> {
        let (Some(runtime), Some(mut serving)) = (&self.runtime, self.serving.take()) else { return Ok(()) };
        let failed = runtime.block_on(async {
            tokio::select! {
                outcome = &mut serving => Some(outcome),
                () = signals.asked() => None,
            }
        });
        match failed {
            None => {
                self.serving = Some(serving);
                self.shut_down(GRACE);
                Ok(())
            }
            Some(outcome) => Err(Error::Listen {
                address: self.address.to_string(),
                reason: format!("serving ended: {outcome:?}"),
                kind: Kind::Unavailable,
            }),
        }
    }

    fn shut_down(&mut self, grace: Duration) {
        let _ = self.stop.send(true);
        let Some(runtime) = self.runtime.take() else { return };
        if let Some(serving) = self.serving.take() {
            let ended = runtime.block_on(async { tokio::time::timeout(grace, serving).await });
            if ended.is_err() {
                tracing::warn!("sessions were still running after {} s and are cut", grace.as_secs());
            }
        }
        self.exchanges.end();
        // Threads that still work on a store are waited for a little: they end when their pipe is closed.
        runtime.shutdown_timeout(Duration::from_secs(2));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shut_down(Duration::ZERO);
    }
}

/// The signals that ask a node to end, watched since this was made.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Signals {
    #[cfg(unix)]
    fn watch() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(windows)]
    fn watch() -> std::io::Result<Self> {
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
    }

    /// Waits for the first of them.
    async fn asked(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(windows)]
        self.interrupt.recv().await;
    }
}
