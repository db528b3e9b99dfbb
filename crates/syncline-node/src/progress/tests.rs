use std::time::Duration;

use super::*;

/// A clock that moves by hand.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
    fn sleep(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_millis()).expect("short"), Ordering::Relaxed);
    }
}

/// What was shown: stages, and how much of each.
#[derive(Default)]
struct Shown(Mutex<Vec<(String, u64)>>);

impl Progress for Shown {
    fn stage(&self, what: &str, total: u64, _: Unit) {
        self.0.lock().expect("no panic").push((format!("{what}/{total}"), 0));
    }
    fn advance(&self, amount: u64) {
        self.0.lock().expect("no panic").last_mut().expect("a stage").1 += amount;
    }
}

/// Keeps what it is told.
struct Kept<'a>(&'a Mutex<Vec<Step>>);

impl Listener for Kept<'_> {
    fn tell(&self, step: &Step) {
        self.0.lock().expect("no panic").push(step.clone());
    }
    fn is_gone(&self) -> bool {
        self.0.lock().expect("no panic").len() > 3
    }
}

#[test]
fn messages_are_few_and_each_says_everything() {
    let clock = Arc::new(Hand::default());
    let messages = Mutex::new(Vec::new());
    let sent = Sent::new(Arc::clone(&clock) as Arc<dyn Clock>, Kept(&messages));
    go_on(&sent, "reading").expect("somebody listens");
    sent.advance(7); // Before the first stage there is nothing to say.
    sent.stage("reading", 1_000, Unit::Rows);
    for _ in 0..1_000 {
        clock.sleep(Duration::from_millis(1));
        sent.advance(1);
    }
    sent.stage("writing", 0, Unit::Bytes);
    let error = go_on(&sent, "reading").expect_err("nobody listens any more");
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    drop(sent);
    let messages = messages.into_inner().expect("no panic");
    assert!((5..=8).contains(&messages.len()), "{messages:?}");
    // All of them, every second one, or the last ones alone: what is shown is as far as the last that came.
    for keep in [1, 2, 4] {
        let (shown, mut received) = (Shown::default(), Received::default());
        for step in messages.iter().rev().step_by(keep).collect::<Vec<_>>().into_iter().rev() {
            let json = serde_json::to_string(step).expect("plain data");
            received.take(&serde_json::from_str(&json).expect("it was written here"), &shown);
        }
        let shown = shown.0.into_inner().expect("no panic");
        assert_eq!(shown.last(), Some(&("writing/0".to_owned(), 0)));
        assert_eq!(shown[0].0, "reading/1000");
        assert!((400..=1_000).contains(&shown[0].1), "{shown:?}");
    }
}
