//! A node's client for code that is not async: the command line and other nodes.
//!
//! Owns one connection and a runtime of one thread that drives it. Every method blocks; call none of them from async
//! code. Nothing here knows what a session or a verb means.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use syncline_base::{Clock, SystemClock};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Request;
use tonic::codegen::Service;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
/// What streams are made of, for who keeps one.
pub use tonic::{Status, Streaming};

use crate::meter::{Meter, Metered};
use crate::pipe::{self, Limits, Pipe, Settings};
use crate::v1::{
    CallReply, CallRequest, ClientMessage, CreateDatasetRequest, ListDatasetsRequest, PingReply, PingRequest,
    ServerMessage, WatchReply, WatchRequest, WriteReply, WriteRequest, call_reply, node_client::NodeClient,
};
use crate::{Error, NEWEST_VERSION, Result, Target, check_version, status};

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// The token that the node asks for.
    pub token: Option<String>,
    /// PEM of the authority that signed the node's certificate; those that the system trusts when absent.
    pub authority: Option<Vec<u8>>,
    /// The name in the node's certificate, when it is not the host's.
    pub server_name: Option<String>,
    /// How long connecting may take.
    pub connect: Duration,
    /// Budgets of each stream.
    pub limits: Limits,
    /// For the rate limit.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            token: None,
            authority: None,
            server_name: None,
            connect: Duration::from_secs(10),
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A transfer stream as the client sees it.
pub type Exchange = Pipe<ServerMessage, ClientMessage>;

/// One piece of a verb's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The report, JSON, whole. Comes last.
    Report(String),
    /// Output, in order.
    Output(Bytes),
    /// Progress, JSON.
    Progress(String),
}

/// A connection to a node.
pub struct Client {
    target: Target,
    options: Options,
    node: NodeClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
    meter: Arc<Meter>,
    /// Whether no transfer has been opened yet: the first one pays for the connection.
    fresh: AtomicBool,
    // Last: everything above is driven by it.
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping a runtime waits for its blocking tasks, and panics inside another runtime; this does neither.
            runtime.shutdown_background();
        }
    }
}

impl Client {
    /// Connects to the node of `target`.
    ///
    /// # Errors
    /// `Invalid` for settings that contradict each other, `Unavailable` when nothing answers.
    pub fn connect(target: Target, options: Options) -> Result<Self> {
        let authorization = bearer(options.token.as_deref())?;
        let meter = Arc::new(Meter::default());
        let endpoint = endpoint(&target, &options)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("syncline-client")
            .enable_all()
            .build()
            .map_err(|error| Error::Connect { peer: target.peer(), reason: error.to_string() })?;
        let dial = Dial { peer: target.peer(), meter: Arc::clone(&meter) };
        let channel = runtime
            .block_on(endpoint.connect_with_connector(dial))
            .map_err(|error| refused(target.peer(), causes(&error)))?;
        let cap = options.limits.message_bytes.saturating_add(1 << 10);
        let node = NodeClient::new(channel).max_decoding_message_size(cap).max_encoding_message_size(cap);
        Ok(Self { target, options, node, authorization, meter, fresh: AtomicBool::new(true), runtime: Some(runtime) })
    }

    /// The node, and the dataset that the address named.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Bytes that have passed the socket since the connection was opened.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// From where a transfer that begins now counts its bytes. The first one pays for the connection, too.
    #[must_use]
    pub fn baseline(&self) -> (u64, u64) {
        if self.fresh.swap(false, Ordering::Relaxed) { (0, 0) } else { (self.meter.sent(), self.meter.received()) }
    }

    /// Which protocol versions the node speaks; fails when none is ours.
    ///
    /// # Errors
    /// `Invalid` when the versions do not meet; `Unavailable` when the node does not answer.
    pub fn ping(&self) -> Result<PingReply> {
        let mut node = self.node.clone();
        let request = self.request(PingRequest { version: NEWEST_VERSION });
        let reply = self.wait(async move { node.ping(request).await })?.into_inner();
        if reply.newest < crate::OLDEST_VERSION || reply.oldest > NEWEST_VERSION {
            check_version(if reply.newest < crate::OLDEST_VERSION { reply.newest } else { reply.oldest })?;
        }
        Ok(reply)
    }

    /// The datasets that the node holds.
    ///
    /// # Errors
    /// The node's fault.
    pub fn datasets(&self) -> Result<Vec<String>> {
        let mut node = self.node.clone();
        let request = self.request(ListDatasetsRequest { version: NEWEST_VERSION });
        Ok(self.wait(async move { node.list_datasets(request).await })?.into_inner().datasets)
    }

    /// Creates an empty dataset.
    ///
    /// # Errors
    /// `Conflict` when the name is taken; the node's fault otherwise.
    pub fn create_dataset(&self, name: &str) -> Result<()> {
        let mut node = self.node.clone();
        let request = self.request(CreateDatasetRequest { version: NEWEST_VERSION, dataset: name.to_owned() });
        self.wait(async move { node.create_dataset(request).await }).map(|_| ())
    }

    /// Runs a verb on a dataset of the node. `input` is sent along; the pieces of the answer go to `on_reply`.
    ///
    /// # Errors
    /// The node's fault, or that of `input` or `on_reply`.
    pub fn call(
        &self,
        dataset: &str,
        verb: &str,
        request: &str,
        input: Option<&mut dyn Read>,
        on_reply: &mut dyn FnMut(Reply) -> Result<()>,
    ) -> Result<()> {
        let (outbound, stream) = pipe::queue();
        let mut node = self.node.clone();
        let open = self.request(stream);
        let opening = async move { node.call(open).await.map(tonic::Response::into_inner) };
        let first = CallRequest {
            version: NEWEST_VERSION,
            dataset: dataset.to_owned(),
            verb: verb.to_owned(),
            request: request.to_owned(),
            input: Bytes::new(),
        };
        let mut pipe: Pipe<CallReply, CallRequest> = Pipe::opening(
            self.target.peer(),
            self.runtime().handle().clone(),
            opening,
            outbound,
            Settings { limits: self.options.limits.of_call(), ..self.settings(first) },
        );
        send_input(&mut pipe, input)?;
        let mut report = String::new();
        while let Some(reply) = pipe.receive_message()? {
            match reply.reply {
                Some(call_reply::Reply::Report(piece)) => {
                    let cap = self.options.limits.report_bytes;
                    if piece.len() > cap.saturating_sub(report.len()) {
                        return Err(Error::Report { verb: verb.to_owned(), cap });
                    }
                    report.push_str(&piece);
                }
                Some(call_reply::Reply::Output(bytes)) => on_reply(Reply::Output(bytes))?,
                Some(call_reply::Reply::Progress(json)) => on_reply(Reply::Progress(json))?,
                None => {}
            }
        }
        if report.is_empty() {
            Err(Error::Closed { peer: self.target.peer() })
        } else {
            on_reply(Reply::Report(report))
        }
    }

    /// Opens a transfer on a dataset of the node. The call goes out with the first message that is sent.
    #[must_use]
    pub fn transfer(&self, dataset: &str) -> Exchange {
        let (outbound, stream) = pipe::queue();
        let mut node = self.node.clone();
        let open = self.request(stream);
        let opening = async move { node.transfer(open).await.map(tonic::Response::into_inner) };
        let first = ClientMessage { version: NEWEST_VERSION, dataset: dataset.to_owned(), ..ClientMessage::default() };
        Pipe::opening(self.target.peer(), self.runtime().handle().clone(), opening, outbound, self.settings(first))
    }

    /// How a stream whose first message is `first` treats its messages.
    fn settings<M: Fill>(&self, first: M) -> Settings<M> {
        let (limits, clock) = (self.options.limits, Arc::clone(&self.options.clock));
        Settings { limits, clock, wrap: first_of(first), alive: M::default }
    }

    /// Waits for something of this module that is for async code.
    pub(crate) fn block_on<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime().block_on(what)
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("taken only by drop")
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }

    fn wait<T>(&self, call: impl Future<Output = std::result::Result<T, Status>>) -> Result<T> {
        let stall = self.options.limits.stall;
        let peer = self.target.peer();
        match self.runtime().block_on(async { tokio::time::timeout(stall, call).await }) {
            Ok(outcome) => outcome.map_err(|fault| status::from_grpc(&peer, &fault)),
            Err(_) => Err(Error::Stalled { peer, what: "sent nothing", seconds: stall.as_secs() }),
        }
    }
}

/// Opens a replication stream with the dataset of `target`, on a connection of its own, for async code. `messages` are what is sent, but
/// for version and dataset in the first one, which is there without them and may be empty.
///
/// # Errors
/// `Invalid` for settings that contradict each other, `Unavailable` when nothing answers; the node's fault.
pub async fn replicate(
    target: &Target,
    options: &Options,
    messages: impl Stream<Item = ClientMessage> + Send + 'static,
) -> Result<Streaming<ServerMessage>> {
    let mut node = dial(target, options).await?;
    let mut first = Some(target.dataset.clone());
    let messages = messages.map(move |message| match first.take() {
        Some(dataset) => ClientMessage { version: NEWEST_VERSION, dataset, ..message },
        None => message,
    });
    let request = authorized(messages, options)?;
    within(target, options, node.replicate(request)).await
}

/// Follows what is written to the dataset of `target`, on a connection of its own, for async code.
///
/// # Errors
/// As [`replicate`].
pub async fn watch(target: &Target, options: &Options, request: &str) -> Result<Streaming<WatchReply>> {
    let mut node = dial(target, options).await?;
    let request =
        WatchRequest { version: NEWEST_VERSION, dataset: target.dataset.clone(), request: request.to_owned() };
    let request = authorized(request, options)?;
    within(target, options, node.watch(request)).await
}

/// Writes transactions to the dataset of `target`, on a connection of its own, for async code. Each is lines of changes as `apply` takes
/// them, cut by [`pieces`].
///
/// # Errors
/// As [`replicate`]. An error in the stream says why a transaction failed: those that were acknowledged before are durable, none behind it
/// was written.
pub async fn write(
    target: &Target,
    options: &Options,
    request: &str,
    transactions: impl Stream<Item = WriteRequest> + Send + 'static,
) -> Result<Streaming<WriteReply>> {
    let mut node = dial(target, options).await?;
    let first = WriteRequest {
        version: NEWEST_VERSION,
        dataset: target.dataset.clone(),
        request: request.to_owned(),
        ..WriteRequest::default()
    };
    let request = authorized(tokio_stream::once(first).chain(transactions), options)?;
    within(target, options, node.write(request)).await
}

/// A transaction's changes as messages of [`write()`].
pub fn pieces(mut changes: Bytes) -> impl Iterator<Item = WriteRequest> {
    std::iter::from_fn(move || {
        let piece = changes.split_to(changes.len().min(PIECE));
        let more = !changes.is_empty();
        (!piece.is_empty()).then(|| WriteRequest { changes: piece, more, ..WriteRequest::default() })
    })
}

/// A transaction of more bytes is sent in several messages.
const PIECE: usize = 1 << 20;

/// A connection that is driven by the caller's runtime.
pub(crate) async fn dial(target: &Target, options: &Options) -> Result<NodeClient<Channel>> {
    let dial = Dial { peer: target.peer(), meter: Arc::default() };
    let channel = endpoint(target, options)?.connect_with_connector(dial).await;
    let channel = channel.map_err(|error| refused(target.peer(), causes(&error)))?;
    let cap = options.limits.message_bytes.saturating_add(1 << 10);
    Ok(NodeClient::new(channel).max_decoding_message_size(cap).max_encoding_message_size(cap))
}

pub(crate) fn authorized<T>(message: T, options: &Options) -> Result<Request<T>> {
    let mut request = Request::new(message);
    if let Some(authorization) = bearer(options.token.as_deref())? {
        request.metadata_mut().insert("authorization", authorization);
    }
    Ok(request)
}

/// The stream that a node answers with.
async fn within<T>(
    target: &Target,
    options: &Options,
    call: impl Future<Output = std::result::Result<tonic::Response<Streaming<T>>, Status>>,
) -> Result<Streaming<T>> {
    let (peer, stall) = (target.peer(), options.limits.stall);
    match tokio::time::timeout(stall, call).await {
        Ok(answer) => Ok(answer.map_err(|fault| status::from_grpc(&peer, &fault))?.into_inner()),
        Err(_) => Err(Error::Stalled { peer, what: "sent nothing", seconds: stall.as_secs() }),
    }
}

/// A message type that has a body among its fields.
trait Fill: Default + Send + 'static {
    fn fill(&mut self, body: Bytes);
}

impl Fill for ClientMessage {
    fn fill(&mut self, body: Bytes) {
        self.body = body;
    }
}

impl Fill for CallRequest {
    fn fill(&mut self, body: Bytes) {
        self.input = body;
    }
}

/// Makes messages of bodies; the first one is `first` with its body filled in.
fn first_of<M: Fill>(first: M) -> Box<dyn FnMut(Bytes) -> M + Send> {
    let mut first = Some(first);
    Box::new(move |body| {
        let mut message = first.take().unwrap_or_default();
        message.fill(body);
        message
    })
}

/// Sends what a verb reads, in pieces, and says that it is all.
fn send_input(pipe: &mut Pipe<CallReply, CallRequest>, input: Option<&mut dyn Read>) -> Result<()> {
    pipe.send(Bytes::new())?;
    if let Some(input) = input {
        let mut piece = vec![0; 256 << 10];
        loop {
            let n = input.read(&mut piece).map_err(|error| Error::Peer {
                kind: syncline_base::Kind::of_io(&error),
                message: format!("reading the input: {error}"),
            })?;
            if n == 0 {
                break;
            }
            pipe.send(Bytes::copy_from_slice(&piece[..n]))?;
        }
    }
    pipe.finish();
    Ok(())
}

/// The header that carries a token.
fn bearer(token: Option<&str>) -> Result<Option<MetadataValue<Ascii>>> {
    let Some(token) = token else { return Ok(None) };
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
        .parse()
        .map_err(|_| Error::Settings("the token has characters that do not fit into a header: use ASCII".into()))?;
    // Never shown in logs, never put into the compression table of HTTP/2.
    value.set_sensitive(true);
    Ok(Some(value))
}

pub(crate) fn endpoint(target: &Target, options: &Options) -> Result<Endpoint> {
    let settings = |error: &dyn std::error::Error| Error::Settings(format!("connecting to {target}: {error}"));
    let endpoint = Endpoint::from_shared(target.origin())
        .map_err(|error| settings(&error))?
        .user_agent("syncline")
        .map_err(|error| settings(&error))?
        .connect_timeout(options.connect)
        .initial_stream_window_size(Some(STREAM_WINDOW))
        .initial_connection_window_size(Some(CONNECTION_WINDOW))
        .http2_keep_alive_interval(options.limits.keepalive().0)
        .keep_alive_timeout(options.limits.keepalive().1);
    if !target.secure {
        if options.token.is_some() && !target.is_loopback() {
            return Err(Error::Settings(format!(
                "the token would cross the network to {} in the clear: use https",
                target.peer()
            )));
        }
        return Ok(endpoint);
    }
    let mut tls = match &options.authority {
        Some(authority) if !authority.windows(PEM.len()).any(|part| part == PEM) => {
            let why = "the file of --ca (SYNCLINE_CA) has no certificate in PEM form";
            return Err(Error::Settings(format!("connecting to {target}: {why}")));
        }
        Some(authority) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let Some(name) = &options.server_name {
        tls = tls.domain_name(name.clone());
    }
    endpoint.tls_config(tls).map_err(|error| match options.authority {
        Some(_) => settings(&error),
        None => Error::Settings(format!("connecting to {target}: {error}; {NAME_AUTHORITY}")),
    })
}

/// How a certificate begins in PEM form.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// HTTP/2 flow control: how much may be in flight towards us on one stream, and on the connection.
pub const STREAM_WINDOW: u32 = 8 << 20;
/// See [`STREAM_WINDOW`].
pub const CONNECTION_WINDOW: u32 = 16 << 20;

/// An error with its causes: the outermost of a connection says only "transport error".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

const NEW_CERTIFICATE: &str =
    "the node needs a certificate that is valid now and for this name (--server-name gives another)";
const NAME_AUTHORITY: &str = "name the certificate of the authority that signed the node's, with --ca or SYNCLINE_CA";

/// Why there is no connection: nobody there, somebody who cannot be trusted, or somebody who speaks without TLS.
fn refused(peer: String, reason: String) -> Error {
    if reason.contains("InvalidContentType") {
        return Error::Scheme { peer, reason: "what answers does not speak TLS".to_owned(), other: "http" };
    }
    if !reason.contains("invalid peer certificate") {
        return Error::Connect { peer, reason };
    }
    let advice = if reason.contains("UnknownIssuer") { NAME_AUTHORITY } else { NEW_CERTIFICATE };
    Error::Untrusted { peer, reason: format!("{reason}; {advice}") }
}

/// Opens metered TCP connections.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    pub(crate) peer: String,
    pub(crate) meter: Arc<Meter>,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Metered<TcpStream>>;
    type Error = std::io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { peer, meter } = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(peer).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(Metered::new(stream, meter)))
        })
    }
}
