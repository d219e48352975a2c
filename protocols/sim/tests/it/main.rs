//! The simulator as its clients see it: real pseudo-terminals and sockets. What is about time is tested in
//! virtual time beside the cores; here every wait is for a condition.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod client;
mod lines;
mod tcp;

use client::Client;
use protocols_sim::event::{Event, Hook};
use protocols_sim::{Sim, Site};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What the hook heard, as text.
type Told = Arc<Mutex<Vec<String>>>;

fn hook() -> (Hook, Told) {
    let told = Told::default();
    let heard = Arc::clone(&told);
    let hook: Hook = Arc::new(move |event: &Event<'_>| {
        let text = format!("{} {:?}", event.device.unwrap_or("-"), event.what);
        heard.lock().unwrap().push(text);
    });
    (hook, told)
}

async fn start(site: &str, folder: &Path) -> (Sim, Told) {
    let plan = Site::parse(site).unwrap().build(folder).unwrap();
    let (hook, told) = hook();
    (Sim::start(plan, Some(hook)).await.unwrap(), told)
}
