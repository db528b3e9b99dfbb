//! What is written to a dataset, given to a caller as it comes.
//!
//! What is little is made lines of where it came: on the network's threads, woken by the engine, for a change of threads takes longer than that. The
//! beginning, and what is much, goes to a thread that may take its time.
//!
//! Owns: a task for each caller. After a crash: nothing is left of it; the caller goes on from the last position that it was given.
//!
//! Not here: what lines say (`syncline_node::ops::watch`).

use std::sync::Arc;
use std::time::Duration;

use syncline_api::check_version;
use syncline_api::v1::{WatchReply, WatchRequest};
use syncline_node::live::engine::Listener;
use syncline_node::ops::watch::{self, Follower, Ready, Went};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch as told};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::grpc::blocking;
use crate::hub::Hub;
use crate::write::stops;
use crate::{Error, Result};

/// How often is looked whether the caller is still there.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many replies wait for a caller: who reads slowly is waited for.
const WAITING: usize = 4;

type Replies = mpsc::Sender<Result<WatchReply, Status>>;

/// Gives a caller what it asks for until it is gone.
pub(crate) fn serve(
    hub: Arc<Hub>,
    request: WatchRequest,
    slot: OwnedSemaphorePermit,
    stopped: told::Receiver<bool>,
) -> ReceiverStream<Result<WatchReply, Status>> {
    let (replies, given) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let _slot = slot;
        if let Err(status) = follow(hub, request, &replies, stopped).await {
            // A caller that is gone does not want to know.
            let _ = replies.send(Err(status)).await;
        }
    });
    ReceiverStream::new(given)
}

async fn follow(
    hub: Arc<Hub>,
    request: WatchRequest,
    replies: &Replies,
    stopped: told::Receiver<bool>,
) -> Result<(), Status> {
    check_version(request.version).map_err(Error::from)?;
    let wanted: watch::Request = serde_json::from_str(&request.request)
        .map_err(|error| Error::Settings(format!("the request to watch cannot be read: {error}")))?;
    let (out, ends) = (replies.clone(), stopped.clone());
    let mut give =
        move |lines: Vec<u8>| Ok(!*ends.borrow() && out.blocking_send(Ok(WatchReply { lines: lines.into() })).is_ok());
    let once = wanted.once;
    let opened = blocking(move || {
        let replica = hub.dataset(&request.dataset)?;
        hub.live(&request.dataset)?;
        if once {
            return Ok(watch::run(&replica, &wanted, &mut give).map(|()| None)?);
        }
        Ok(Some((Follower::open(&replica, &wanted)?, give)))
    });
    let Some((mut follower, mut give)) = opened.await? else { return Ok(()) };
    let news = Arc::new(Notify::new());
    let heard = Arc::clone(&news);
    let listener: Arc<Listener> = Arc::new(move || heard.notify_one());
    follower.engine().listen(&listener);
    let mut alive = tokio::time::interval(PATIENCE);
    loop {
        match follower.ready().map_err(Error::from)? {
            Ready::Lines(lines) if lines.is_empty() => tokio::task::yield_now().await,
            Ready::Lines(lines) => {
                if replies.send(Ok(WatchReply { lines: lines.into() })).await.is_err() {
                    return Ok(());
                }
            }
            Ready::Nothing => tokio::select! {
                () = news.notified() => {}
                () = replies.closed() => return Ok(()),
                () = stops(stopped.clone()) => return Ok(()),
                _ = alive.tick() => {
                    // An empty piece finds out whether somebody still reads. When the others are not taken he is slow, or gone.
                    let _ = replies.try_send(Ok(WatchReply::default()));
                }
            },
            Ready::Much => {
                let went;
                (follower, give, went) = blocking(move || {
                    let went = follower.go_on(Duration::ZERO, &mut give)?;
                    Ok((follower, give, went))
                })
                .await?;
                if went == Went::Away {
                    return Ok(());
                }
            }
        }
    }
}
