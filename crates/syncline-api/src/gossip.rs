//! What nodes tell each other in passing: who is there, and whether somebody answers. For async code.
//!
//! Owns: one connection to a node, which is made when something is told, and made again when it has broken. Nothing survives a crash.
//!
//! Not here: what is told (`syncline-server`).

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Channel;

use crate::client::{self, Options};
use crate::v1::node_client::NodeClient;
use crate::v1::{GossipReply, GossipRequest, PingRequest};
use crate::{Error, NEWEST_VERSION, Result, Target, status};

/// A way to tell a node something.
#[derive(Clone)]
pub struct Teller {
    peer: String,
    options: Options,
    node: NodeClient<Channel>,
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the token.
        f.debug_struct("Teller").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Teller {
    /// To a node. To be called inside of the runtime that is to drive the connection.
    ///
    /// # Errors
    /// `Invalid` for settings that contradict each other.
    pub fn new(target: &Target, options: &Options) -> Result<Self> {
        let dial = client::Dial { peer: target.peer(), meter: Arc::default() };
        let channel = client::endpoint(target, options)?.connect_with_connector_lazy(dial);
        Ok(Self { peer: target.peer(), options: options.clone(), node: NodeClient::new(channel) })
    }

    /// Tells it what a hub has to tell.
    ///
    /// # Errors
    /// `Unavailable` when it does not answer in time; the node's fault.
    pub async fn gossip(&self, request: GossipRequest, patience: Duration) -> Result<GossipReply> {
        let request = client::authorized(GossipRequest { version: NEWEST_VERSION, ..request }, &self.options)?;
        let mut node = self.node.clone();
        self.within(patience, async move { node.gossip(request).await }).await
    }

    /// Asks whether somebody answers.
    ///
    /// # Errors
    /// As [`Self::gossip`].
    pub async fn ping(&self, patience: Duration) -> Result<()> {
        let request = client::authorized(PingRequest { version: NEWEST_VERSION }, &self.options)?;
        let mut node = self.node.clone();
        self.within(patience, async move { node.ping(request).await }).await.map(|_| ())
    }

    async fn within<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T> {
        match tokio::time::timeout(patience, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(fault)) => Err(status::from_grpc(&self.peer, &fault)),
            Err(_) => {
                let seconds = patience.as_secs();
                Err(Error::Stalled { peer: self.peer.clone(), what: "sent nothing", seconds })
            }
        }
    }
}
