use syncline_base::Kind;

use super::*;
use crate::transport::Counters;
use crate::wire::Fault;

/// A peer that left after it said these.
struct Gone(Vec<Bytes>);

impl Transport for Gone {
    fn peer(&self) -> String {
        "the peer".into()
    }

    fn send(&mut self, _: Bytes) -> Result<()> {
        Err(Error::Transport { kind: Kind::Unavailable, message: "it is gone".into() })
    }

    fn receive(&mut self) -> Result<Option<Bytes>> {
        self.try_receive()
    }

    fn try_receive(&mut self) -> Result<Option<Bytes>> {
        Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
    }

    fn finish(&mut self) {}

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

#[test]
fn a_peer_that_left_is_heard_out() {
    let fault = Fault { kind: Kind::Conflict, message: "the branch has moved".into(), moved: None };
    let said = [Message::Ack { steps: 1 }, Message::Fault(fault)].map(|message| wire::encode_frame(&[message]));
    let ask = |said: Vec<Bytes>| fetch(&mut Gone(said), vec![Hash::of(b"x")]).expect_err("nobody answers");
    let error = ask(said.to_vec());
    assert_eq!((error.kind(), error.to_string()), (Kind::Conflict, "the branch has moved".into()));
    assert_eq!(ask(Vec::new()).kind(), Kind::Unavailable);
}
