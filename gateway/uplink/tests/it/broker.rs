//! A broker by hand: MQTT 3.1.1 on raw bytes over TLS, misbehaving as each connection's script says.

use crate::cloud::Cloud;
use crate::pki::{Authority, Day};
use gateway_uplink::Server;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// How one connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    /// As it should.
    Good,
    /// CONNACK says "not authorised".
    Deny,
    /// SUBACK says no.
    DenySubscription,
    /// Takes so many publishes, answers so many of them with a PUBACK, closes.
    TakeAckClose(usize, usize),
    /// Takes everything, PUBACKs nothing.
    NoPubacks,
    /// Answers nothing any more after so many publishes, and keeps the connection.
    HalfOpen(usize),
    /// PUBACKs in groups of four, last first.
    Backwards,
    /// The very first publish never gets its PUBACK.
    NeverTheFirst,
    /// PUBACKs a packet id that was never used.
    WrongPuback,
    /// Denied by the ACL, as 3.1.1 has it: PUBACKs everything and passes nothing on.
    SwallowAll,
}

pub(crate) struct Broker {
    pub(crate) server: Server,
    pub(crate) state: Arc<Mutex<BrokerState>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
pub(crate) struct BrokerState {
    pub(crate) scripts: VecDeque<Script>,
    /// What connections get when the scripts are used up.
    pub(crate) rest: Option<Script>,
    pub(crate) connections: usize,
    pub(crate) publishes: usize,
    pub(crate) topics: Vec<String>,
    pub(crate) subscriptions: Vec<(String, u8)>,
    pub(crate) clean_sessions: bool,
}

impl Broker {
    pub(crate) async fn start(authority: &Authority, cloud: &Arc<Mutex<Cloud>>) -> Self {
        Self::start_valid(authority, cloud, ((2020, 1, 1), (2090, 1, 1))).await
    }

    pub(crate) async fn start_valid(
        authority: &Authority,
        cloud: &Arc<Mutex<Cloud>>,
        valid: (Day, Day),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = tokio_rustls::TlsAcceptor::from(authority.server(valid));
        let state = Arc::new(Mutex::new(BrokerState {
            clean_sessions: true,
            ..BrokerState::default()
        }));
        let (shared, cloud) = (Arc::clone(&state), Arc::clone(cloud));
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                let (acceptor, state, cloud) =
                    (acceptor.clone(), Arc::clone(&shared), Arc::clone(&cloud));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        serve(stream, &state, &cloud).await;
                    }
                });
            }
        });
        Self {
            server: Server::try_new(&format!("127.0.0.1:{port}")).unwrap(),
            state,
            task,
        }
    }

    pub(crate) fn script(&self, scripts: &[Script]) {
        self.state.lock().unwrap().scripts.extend(scripts);
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

struct Packet {
    kind: u8,
    flags: u8,
    body: Vec<u8>,
}

async fn read_packet(stream: &mut (impl AsyncRead + Unpin)) -> Option<Packet> {
    let head = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0usize, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Packet {
        kind: head >> 4,
        flags: head & 0xf,
        body,
    })
}

fn frame(head: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![head];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

fn text(body: &[u8], at: usize) -> (String, usize) {
    let length = usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let end = at + 2 + length;
    (String::from_utf8(body[at + 2..end].to_vec()).unwrap(), end)
}

fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(payload);
    frame(0x30, &body)
}

fn puback(packet: u16) -> Vec<u8> {
    frame(0x40, &packet.to_be_bytes())
}

async fn serve<S>(stream: S, state: &Mutex<BrokerState>, cloud: &Mutex<Cloud>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    // Room for everything a test can send down at once.
    let (out, mut outgoing) = mpsc::channel::<Vec<u8>>(65_536);
    let write = tokio::spawn(async move {
        while let Some(bytes) = outgoing.recv().await {
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
        let _closed = writer.shutdown().await;
    });
    connection(&mut reader, &out, state, cloud).await;
    cloud.lock().unwrap().disconnect(&out);
    drop(out);
    let _written = write.await;
}

async fn connection(
    reader: &mut (impl AsyncRead + Unpin),
    out: &mpsc::Sender<Vec<u8>>,
    state: &Mutex<BrokerState>,
    cloud: &Mutex<Cloud>,
) {
    let Some(connect) = read_packet(reader).await else {
        return;
    };
    assert_eq!(connect.kind, 1, "CONNECT comes first");
    let script = {
        let mut state = state.lock().unwrap();
        state.connections += 1;
        state.clean_sessions &= connect.body[7] & 2 != 0;
        let rest = state.rest.unwrap_or(Script::Good);
        state.scripts.pop_front().unwrap_or(rest)
    };
    let code = if script == Script::Deny { 5 } else { 0 };
    out.try_send(frame(0x20, &[0, code])).unwrap();
    if script == Script::Deny {
        return;
    }
    let mut taken = Taken::default();
    while let Some(packet) = read_packet(reader).await {
        match packet.kind {
            3 => {
                let Some((topic, id, payload)) = read_publish(&packet) else {
                    panic!("a publish that is none")
                };
                state.lock().unwrap().topics.push(topic.clone());
                if script != Script::SwallowAll {
                    cloud.lock().unwrap().message(&topic, payload.into());
                }
                if id == 0 {
                    continue;
                }
                state.lock().unwrap().publishes += 1;
                match taken.answer(script, id) {
                    Next::Pubacks(ids) => {
                        ids.into_iter()
                            .for_each(|id| out.try_send(puback(id)).unwrap());
                    }
                    Next::Close => return,
                    Next::Freeze(id) => {
                        out.try_send(puback(id)).unwrap();
                        std::future::pending::<()>().await;
                    }
                }
            }
            8 => {
                let (filter, end) = text(&packet.body, 2);
                let asked = (filter.clone(), packet.body[end]);
                state.lock().unwrap().subscriptions.push(asked);
                let denied = script == Script::DenySubscription;
                let code = if denied { 0x80 } else { 0 };
                out.try_send(frame(0x90, &[packet.body[0], packet.body[1], code]))
                    .unwrap();
                let down = out.clone();
                cloud.lock().unwrap().connect(out.clone(), move |payload| {
                    let _full = down.try_send(publish(&filter, &payload));
                });
            }
            12 => out.try_send(frame(0xd0, &[])).unwrap(),
            14 => return,
            other => panic!("unexpected packet {other}"),
        }
    }
}

/// Topic, packet id (0 where no PUBACK is wanted) and payload.
fn read_publish(packet: &Packet) -> Option<(String, u16, Vec<u8>)> {
    let (topic, mut at) = text(&packet.body, 0);
    let mut id = 0;
    if packet.flags >> 1 & 3 > 0 {
        id = u16::from_be_bytes([*packet.body.get(at)?, *packet.body.get(at + 1)?]);
        at += 2;
    }
    Some((topic, id, packet.body.get(at..)?.to_vec()))
}

/// What the script does after a publish.
enum Next {
    Pubacks(Vec<u16>),
    Close,
    /// A last PUBACK, then silence.
    Freeze(u16),
}

#[derive(Default)]
struct Taken {
    count: usize,
    group: Vec<u16>,
}

impl Taken {
    fn answer(&mut self, script: Script, id: u16) -> Next {
        self.count += 1;
        match script {
            Script::TakeAckClose(most, _) if self.count >= most => Next::Close,
            Script::TakeAckClose(_, acked) if self.count > acked => Next::Pubacks(Vec::new()),
            Script::NoPubacks => Next::Pubacks(Vec::new()),
            Script::HalfOpen(most) if self.count >= most => Next::Freeze(id),
            Script::Backwards => {
                self.group.push(id);
                let full = self.group.len() == 4;
                let mut ids = Vec::new();
                if full {
                    ids = std::mem::take(&mut self.group);
                    ids.reverse();
                }
                Next::Pubacks(ids)
            }
            Script::NeverTheFirst if self.count == 1 => Next::Pubacks(Vec::new()),
            Script::WrongPuback => Next::Pubacks(vec![200]),
            _ => Next::Pubacks(vec![id]),
        }
    }
}
