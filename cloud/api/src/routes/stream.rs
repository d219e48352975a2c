//! `GET /v1/stream`: server-sent events.
//!
//! Events: `values` (array of latest values), `changed` (lists of a gateway that are out of date),
//! `gap` (something was missed: fetch afresh). Every event but the first carries an id to resume
//! from. A comment every 15 s keeps proxies awake. The session is asked for again every second, so
//! a logout or revocation ends the stream within it (design.md P2).

use crate::app::AppState;
use crate::auth::gate::Who;
use crate::input::Params;
use crate::live::ring::Frame;
use crate::live::{Joined, Message};
use crate::problem::Problem;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use protocols_model::GatewayId;
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// A comment at least so often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The session is looked up so often.
const RECHECK: Duration = Duration::from_secs(1);
/// Series that one stream may name.
const MAX_SERIES: usize = 256;

/// What a stream is about.
#[derive(Debug, Default)]
struct Filter {
    gateway: Option<GatewayId>,
    series: Option<BTreeSet<i64>>,
}

impl Filter {
    fn parse(params: &Params) -> Result<Self, Problem> {
        let gateway = params.parsed("gateway")?;
        let series = params
            .text("series")
            .map(|text| {
                let ids: Result<BTreeSet<i64>, _> = text.split(',').map(str::parse).collect();
                let ids = ids.map_err(|_error| {
                    Problem::field(
                        "series",
                        format!("{text:?} is not a list of numbers: 1,2,3"),
                    )
                })?;
                if ids.len() > MAX_SERIES {
                    return Err(Problem::field(
                        "series",
                        format!(
                            "names {} series; at most {MAX_SERIES} are allowed",
                            ids.len()
                        ),
                    ));
                }
                Ok(ids)
            })
            .transpose()?;
        Ok(Self { gateway, series })
    }

    fn takes_gateway(&self, gateway: &GatewayId) -> bool {
        self.gateway.as_ref().is_none_or(|wanted| wanted == gateway)
    }

    fn takes_series(&self, series: i64) -> bool {
        self.series
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&series))
    }

    /// The frame as events; empty when nothing of it is wanted.
    fn render(&self, id: &str, frame: &Frame) -> String {
        let mut text = String::new();
        let wanted: Vec<&str> = frame
            .updates
            .iter()
            .filter(|u| self.takes_gateway(&u.gateway) && self.takes_series(u.series))
            .map(|update| update.json.as_str())
            .collect();
        // Writing to a String cannot fail.
        for (gateway, changed) in frame.changed.iter().filter(|(g, _)| self.takes_gateway(g)) {
            let _ok = write!(
                text,
                "event: changed\ndata: {{\"gateway\":\"{gateway}\",\"events\":{},\"alarms\":{},\"ledger\":{}}}\n\n",
                changed.events, changed.alarms, changed.ledger
            );
        }
        if !wanted.is_empty() {
            // The id comes with the last event of the frame: a resume never skips a part of it.
            let _ok = write!(
                text,
                "id: {id}\nevent: values\ndata: [{}]\n\n",
                wanted.join(",")
            );
        } else if !text.is_empty() {
            text.insert_str(0, &format!("id: {id}\n"));
        }
        text
    }
}

fn gap(id: &str) -> String {
    format!("id: {id}\nevent: gap\ndata: {{\"fetch\":\"afresh\"}}\n\n")
}

struct Stream {
    state: Arc<AppState>,
    who: Who,
    filter: Filter,
    ready: VecDeque<String>,
    messages: broadcast::Receiver<Message>,
    recheck: Interval,
    quiet_since: Instant,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    fn new(state: Arc<AppState>, who: Who, filter: Filter, joined: Joined) -> Self {
        let mut recheck = tokio::time::interval_at(Instant::now() + RECHECK, RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ready = VecDeque::new();
        // Browsers wait three seconds before they come back; one is enough here.
        ready.push_back("retry: 1000\n\n".to_owned());
        match joined.missed {
            None => ready.push_back(gap(&joined.newest)),
            Some(frames) if frames.is_empty() => {
                // An id without data: known to the browser, seen by nobody.
                ready.push_back(format!(
                    "id: {}\nevent: open\ndata: {{}}\n\n",
                    joined.newest
                ));
            }
            Some(frames) => {
                for frame in frames {
                    let text = filter.render(&state.live.id(frame.number), &frame);
                    if !text.is_empty() {
                        ready.push_back(text);
                    }
                }
            }
        }
        Self {
            state,
            who,
            filter,
            ready,
            messages: joined.messages,
            recheck,
            quiet_since: Instant::now(),
            _place: joined.place,
        }
    }

    /// Whether the session still lives and its user may still look.
    async fn allowed(&self) -> bool {
        let now = self.state.clock.wall();
        match self.state.store.session(&self.who.session.token, now).await {
            Ok(session) => session.is_some(),
            // The database is away, not the permission; the stream has nothing to say then anyway.
            Err(error) => {
                tracing::debug!(%error, "the session of a stream could not be looked up");
                true
            }
        }
    }

    /// The next piece; `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(text) = self.ready.pop_front() {
                self.quiet_since = Instant::now();
                return Some(text);
            }
            let message = tokio::select! {
                biased;
                () = self.state.stop.cancelled() => return None,
                _ = self.recheck.tick() => None,
                message = self.messages.recv() => Some(message),
            };
            match message {
                None => {
                    if !self.allowed().await {
                        return None;
                    }
                    if self.quiet_since.elapsed() >= HEARTBEAT {
                        self.ready.push_back(": still here\n\n".to_owned());
                    }
                }
                Some(Ok(Message::Frame(frame))) => {
                    let id = self.state.live.id(frame.number);
                    let text = self.filter.render(&id, &frame);
                    if !text.is_empty() {
                        self.ready.push_back(text);
                    }
                }
                Some(Ok(Message::Gap(id))) => self.ready.push_back(gap(&id)),
                Some(Err(RecvError::Lagged(frames))) => {
                    // Cut off, not fed in parts: the page comes back and resumes from the ring.
                    tracing::debug!(frames, "a page is too slow for the live stream");
                    return None;
                }
                Some(Err(RecvError::Closed)) => return None,
            }
        }
    }
}

/// Live values, at most four times a second and only the newest of each series.
///
/// Server-sent events: `open`, `values`, `changed` (which lists of a gateway are out of date: `events`,
/// `alarms`, `ledger`), `gap`. Resume with `Last-Event-ID` within two
/// minutes; after `gap` fetch afresh.
#[utoipa::path(get, path = "/v1/stream", tag = "series",
    params(
        ("gateway" = Option<String>, Query, description = "Only of this gateway"),
        ("series" = Option<String>, Query, description = "Only these series: up to 256 numbers, 1,2,3"),
        ("last-event-id" = Option<String>, Header, description = "Resume after this event")),
    responses((status = 200, body = String, content_type = "text/event-stream"),
        (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn stream(
    State(state): State<Arc<AppState>>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let params = params.only(&["gateway", "series"])?;
    let filter = Filter::parse(&params)?;
    let last = headers
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or_default());
    let joined = state
        .live
        .join(last)
        .ok_or_else(|| Problem::busy("too many live streams are open on this server", 5))?;
    let stream = Stream::new(state, who, filter, joined);
    let pieces = futures::stream::unfold(stream, |mut stream| async move {
        let piece = stream.next().await?;
        Some((Ok::<_, Infallible>(piece), stream))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that buffer would hold every event back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::ring::{Changed, Update};

    fn gateway(id: &str) -> GatewayId {
        GatewayId::try_new(id).unwrap()
    }

    fn frame() -> Frame {
        let update = |series: i64, id: &str| Update {
            series,
            gateway: gateway(id),
            json: format!("{{\"series\":{series}}}"),
        };
        Frame {
            number: 3,
            updates: vec![update(1, "a"), update(2, "b")],
            changed: vec![(
                gateway("a"),
                Changed {
                    events: true,
                    alarms: false,
                    ledger: false,
                },
            )],
        }
    }

    #[test]
    fn a_stream_gets_only_what_it_asked_for() {
        let all = Filter::default().render("7-3", &frame());
        assert!(all.contains("{\"series\":1},{\"series\":2}"), "{all}");
        let b = Filter {
            gateway: Some(gateway("b")),
            series: None,
        }
        .render("7-3", &frame());
        assert_eq!(b, "id: 7-3\nevent: values\ndata: [{\"series\":2}]\n\n");
        let none = Filter {
            gateway: Some(gateway("c")),
            series: None,
        };
        assert!(none.render("7-3", &frame()).is_empty());
    }

    #[test]
    fn the_id_stands_in_the_last_event_of_a_frame() {
        let all = Filter::default().render("7-3", &frame());
        assert_eq!(all.matches("id: ").count(), 1);
        let last = all.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.starts_with("id: 7-3\n"), "{all}");
        let only_changed = Filter {
            gateway: Some(gateway("a")),
            series: Some([9].into()),
        };
        let text = only_changed.render("7-3", &frame());
        assert!(text.starts_with("id: 7-3\nevent: changed"), "{text}");
    }
}
