//! The service: requests to the hub, each on a thread that may block.

use std::io::Read;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use syncline_api::pipe::{self, Limits, Notices, Outbound, Pipe};
use syncline_api::v1::{
    CallReply, CallRequest, ClientMessage, CreateDatasetReply, CreateDatasetRequest, GossipReply, GossipRequest,
    ListDatasetsReply, ListDatasetsRequest, PingReply, PingRequest, ServerMessage, WatchReply, WatchRequest,
    WriteRequest, call_reply, node_server::Node,
};
use syncline_api::{NEWEST_VERSION, OLDEST_VERSION, check_version};
use syncline_base::Clock;
use syncline_node::export::Target;
use syncline_node::ops;
use syncline_node::ops::dispatch::{self, Streams};
use syncline_node::progress::{Listener, Progress, Sent, Step};
use syncline_node::sync;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::connections;
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::live;
use crate::members::Meshes;
use crate::remote::Incoming;
use crate::watching;
use crate::write;

type Replies<T> = Outbound<std::result::Result<T, Status>>;
type CallPipe = Pipe<CallRequest, std::result::Result<CallReply, Status>>;

/// Pieces of a verb's output and of its report.
const PIECE_BYTES: usize = 256 << 10;

pub(crate) struct Service {
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    /// How many sessions and calls may run at once.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) slots_max: usize,
    /// Turns true when the node is to end: what would stay for ever ends then.
    pub(crate) stopped: watch::Receiver<bool>,
    /// The hubs beside this one, if it wants to know of any.
    pub(crate) meshes: Option<Arc<Meshes>>,
}

impl Service {
    fn slot(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_| Error::Busy(self.slots_max))
    }

    /// The first message of a stream, which comes soon or never.
    async fn first<M>(&self, peer: &str, inbound: &mut Streaming<M>) -> std::result::Result<M, Status> {
        match tokio::time::timeout(self.limits.stall, inbound.message()).await {
            Ok(Ok(Some(first))) => Ok(first),
            Ok(Ok(None)) => Err(Error::from(syncline_api::Error::Closed { peer: peer.to_owned() }).into()),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(Status::deadline_exceeded("no message came")),
        }
    }

    fn pipe_settings<O>(
        &self,
        wrap: impl Fn(Bytes) -> O + Send + Copy + 'static,
        alive: fn() -> std::result::Result<O, Status>,
    ) -> pipe::Settings<std::result::Result<O, Status>> {
        pipe::Settings {
            limits: self.limits,
            clock: Arc::clone(&self.clock),
            wrap: Box::new(move |body| Ok(wrap(body))),
            alive,
        }
    }
}

/// Runs store work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> std::result::Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Status::internal("the request failed inside the node: this is a bug, see its log")),
    }
}

fn peer<T>(request: &Request<T>) -> String {
    let caller = request.extensions().get::<connections::Caller>();
    caller.map_or_else(|| "a client".to_owned(), |caller| caller.address().to_string())
}

#[tonic::async_trait]
impl Node for Service {
    type CallStream = Replies<CallReply>;
    type TransferStream = Replies<ServerMessage>;
    type ReplicateStream = Pin<Box<dyn Stream<Item = std::result::Result<ServerMessage, Status>> + Send>>;
    type WatchStream = ReceiverStream<std::result::Result<WatchReply, Status>>;
    type WriteStream = write::Replies;

    async fn ping(&self, _: Request<PingRequest>) -> std::result::Result<Response<PingReply>, Status> {
        // Answered whatever the caller speaks: this is how it finds out.
        Ok(Response::new(PingReply {
            oldest: OLDEST_VERSION,
            newest: NEWEST_VERSION,
            build: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn list_datasets(
        &self,
        request: Request<ListDatasetsRequest>,
    ) -> std::result::Result<Response<ListDatasetsReply>, Status> {
        check_version(request.get_ref().version).map_err(Error::from)?;
        let hub = Arc::clone(&self.hub);
        Ok(Response::new(ListDatasetsReply { datasets: blocking(move || hub.datasets()).await? }))
    }

    async fn create_dataset(
        &self,
        request: Request<CreateDatasetRequest>,
    ) -> std::result::Result<Response<CreateDatasetReply>, Status> {
        let CreateDatasetRequest { version, dataset } = request.into_inner();
        check_version(version).map_err(Error::from)?;
        let hub = Arc::clone(&self.hub);
        blocking(move || hub.create(&dataset).map(|_| ())).await?;
        Ok(Response::new(CreateDatasetReply {}))
    }

    async fn call(
        &self,
        request: Request<Streaming<CallRequest>>,
    ) -> std::result::Result<Response<Self::CallStream>, Status> {
        let slot = self.slot()?;
        let (outbound, replies) = pipe::queue();
        let settings = self.pipe_settings(
            |body| CallReply { reply: Some(call_reply::Reply::Output(body)) },
            || Ok(CallReply::default()),
        );
        let settings = pipe::Settings { limits: self.limits.of_call(), ..settings };
        let peer = peer(&request);
        let mut pipe = Pipe::open(peer, Handle::current(), request.into_inner(), outbound, settings);
        let (hub, clock) = (Arc::clone(&self.hub), Arc::clone(&self.clock));
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            if let Err(error) = call(&hub, &mut pipe, clock) {
                pipe.finish_with(Err(error.into()));
            }
        });
        Ok(Response::new(replies))
    }

    async fn transfer(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> std::result::Result<Response<Self::TransferStream>, Status> {
        let slot = self.slot()?;
        let (outbound, replies) = pipe::queue();
        let settings = self
            .pipe_settings(|body| ServerMessage { body, ..ServerMessage::default() }, || Ok(ServerMessage::default()));
        let peer = peer(&request);
        let pipe = Pipe::open(peer, Handle::current(), request.into_inner(), outbound, settings);
        let hub = Arc::clone(&self.hub);
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            transfer(&hub, pipe);
        });
        Ok(Response::new(replies))
    }

    async fn replicate(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> std::result::Result<Response<Self::ReplicateStream>, Status> {
        let (peer, mut inbound) = (peer(&request), request.into_inner());
        let first = self.first(&peer, &mut inbound).await?;
        check_version(first.version).map_err(Error::from)?;
        let scope = Some(first.scope.clone()).filter(|scope| !scope.is_empty());
        let (hub, meshes) = (Arc::clone(&self.hub), self.meshes.clone());
        let lists = meshes.as_ref().map(|meshes| meshes.list(&first.dataset));
        let (engine, from) = blocking(move || {
            Meshes::check_mesh(meshes.as_deref(), &first.dataset, &first.mesh)?;
            let engine = hub.live(&first.dataset)?;
            let from = meshes.and_then(|meshes| meshes.connected((&first.dataset, &engine), &first.from, first.given));
            Ok((engine, from))
        })
        .await?;
        let caller = live::Caller { peer, scope, hub: from, lists };
        Ok(Response::new(Box::pin(live::serve(engine, caller, inbound, self.stopped.clone())?)))
    }

    async fn gossip(&self, request: Request<GossipRequest>) -> std::result::Result<Response<GossipReply>, Status> {
        let request = request.into_inner();
        check_version(request.version).map_err(Error::from)?;
        let Some(meshes) = self.meshes.clone() else {
            return Err(Error::Settings("this node tells nobody of hubs (--no-discover)".to_owned()).into());
        };
        Ok(Response::new(blocking(move || meshes.told(&request)).await?))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> std::result::Result<Response<Self::WatchStream>, Status> {
        let slot = self.slot()?;
        let (hub, stopped) = (Arc::clone(&self.hub), self.stopped.clone());
        Ok(Response::new(watching::serve(hub, request.into_inner(), slot, stopped)))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> std::result::Result<Response<Self::WriteStream>, Status> {
        let (peer, mut inbound) = (peer(&request), request.into_inner());
        let first = self.first(&peer, &mut inbound).await?;
        check_version(first.version).map_err(Error::from)?;
        let wanted = match &first.request[..] {
            "" => ops::apply::Request::default(),
            wanted => serde_json::from_str(wanted)
                .map_err(|error| Error::Settings(format!("the request to write cannot be read: {error}")))?,
        };
        let hub = Arc::clone(&self.hub);
        let dataset = first.dataset.clone();
        let engine = blocking(move || hub.live(&dataset)).await?;
        Ok(Response::new(write::serve(engine, wanted, first, inbound, self.stopped.clone())))
    }
}

/// Serves one transfer session.
fn transfer(hub: &Hub, mut pipe: Pipe<ClientMessage, std::result::Result<ServerMessage, Status>>) {
    let peer = pipe.peer().to_owned();
    let opened = (|| -> Result<_> {
        let Some(first) = pipe.receive_first()? else {
            return Err(syncline_api::Error::Closed { peer: peer.clone() }.into());
        };
        check_version(first.version)?;
        Ok((hub.dataset(&first.dataset)?, first))
    })();
    let (replica, first) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            pipe.finish_with(Err(error.into()));
            return;
        }
    };
    // A fault of the session itself is told to the peer by a message of the session.
    match sync::serve(&*replica, &mut Incoming::new(pipe, first.body)) {
        Ok(served) => tracing::info!(%peer, dataset = first.dataset, ?served, "transfer served"),
        Err(error) => tracing::warn!(%peer, dataset = first.dataset, kind = %error.kind(), %error, "transfer failed"),
    }
}

/// Runs one verb and sends what it gives.
fn call(hub: &Arc<Hub>, pipe: &mut CallPipe, clock: Arc<dyn Clock>) -> Result<()> {
    let Some(first) = pipe.receive_first()? else {
        return Err(syncline_api::Error::Closed { peer: pipe.peer().to_owned() }.into());
    };
    check_version(first.version)?;
    // A verb whose caller has gone ends at the next object that it reads or stores.
    let caller = pipe.notices();
    let replica = hub.dataset(&first.dataset)?.until(Arc::new(move || caller.is_closed()));
    let scratch = Scratch { input: hub.scratch(), output: hub.scratch() };
    let input = scratch.take_input(pipe, first.input)?;
    let streams = Streams { input, output: Target::Path(scratch.output.clone()) };
    let progress: Arc<dyn Progress> = Arc::new(Sent::new(clock, Caller(pipe.notices())));
    let report = dispatch::run(&replica, &first.verb, &first.request, streams, &progress)?;
    scratch.send_output(pipe)?;
    let cap = pipe.limits().report_bytes;
    if report.len() > cap {
        return Err(syncline_api::Error::Report { verb: first.verb, cap }.into());
    }
    send_report(pipe, &report)
}

/// Sends a report in pieces, of which each is text.
fn send_report(pipe: &mut CallPipe, mut rest: &str) -> Result<()> {
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        pipe.send_item(Ok(CallReply { reply: Some(call_reply::Reply::Report(piece.to_owned())) }), piece.len())?;
        rest = more;
    }
    Ok(())
}

/// Who has asked for a verb.
struct Caller(Notices<std::result::Result<CallReply, Status>>);

impl Listener for Caller {
    fn tell(&self, step: &Step) {
        if let Ok(json) = serde_json::to_string(step) {
            let bytes = u32::try_from(json.len()).unwrap_or(u32::MAX);
            self.0.send(Ok(CallReply { reply: Some(call_reply::Reply::Progress(json)) }), bytes);
        }
    }

    fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

/// Files that hold a verb's input and output while it runs: an input may be read twice, and an output that fails
/// half-way must not reach the caller.
struct Scratch {
    input: PathBuf,
    output: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for path in [&self.input, &self.output] {
            // Most verbs use neither.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn io(what: &'static str, path: &std::path::Path) -> impl Fn(std::io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |source| Error::Data { what, path: path.clone(), source }
}

impl Scratch {
    /// Receives the input, if there is any.
    fn take_input(&self, pipe: &mut CallPipe, first: Bytes) -> Result<Option<PathBuf>> {
        use std::io::Write as _;
        let mut file: Option<std::fs::File> = None;
        let mut piece = Some(first);
        while let Some(bytes) = piece {
            if !bytes.is_empty() {
                if file.is_none() {
                    file = Some(std::fs::File::create(&self.input).map_err(io("creating", &self.input))?);
                }
                if let Some(file) = &mut file {
                    file.write_all(&bytes).map_err(io("writing", &self.input))?;
                }
            }
            piece = pipe.receive_message()?.map(|message| message.input);
        }
        Ok(file.map(|_| self.input.clone()))
    }

    /// Sends the output, if there is any.
    fn send_output(&self, pipe: &mut CallPipe) -> Result<()> {
        let mut file = match std::fs::File::open(&self.output) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io("reading", &self.output)(error)),
        };
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let n = file.read(&mut piece).map_err(io("reading", &self.output))?;
            if n == 0 {
                return Ok(());
            }
            pipe.send(Bytes::copy_from_slice(&piece[..n]))?;
        }
    }
}
