use super::*;

#[test]
fn queues_carry_messages_both_ways_and_end() {
    let (mut here, mut there) = pair("here", "there");
    here.send(Bytes::from_static(b"ask")).expect("there is listening");
    assert_eq!(there.receive().expect("a message").as_deref(), Some(&b"ask"[..]));
    assert_eq!(here.try_receive().expect("no message yet"), None);
    there.send(Bytes::from_static(b"answer")).expect("here is listening");
    there.finish();
    assert_eq!(here.receive().expect("a message").as_deref(), Some(&b"answer"[..]));
    assert_eq!(here.receive().expect("the end"), None);
    assert_eq!(here.counters(), Counters { sent: 3, received: 6 });
    drop(there);
    assert_eq!(here.send(Bytes::new()).expect_err("nobody listens").kind(), Kind::Unavailable);
}
