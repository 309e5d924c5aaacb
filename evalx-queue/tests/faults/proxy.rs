//! [`Proxy`]: a network between a client and the server that can be made bad.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Nothing arrives on either side until it is fair, and nobody is told.
    Lost,
    /// What the client says arrives, what the server says does not until it is fair.
    Deaf,
    /// Connections are cut as soon as something is said.
    Reset,
    /// What the server says comes late.
    Late(Duration),
    /// What the server says comes byte by byte.
    Trickle,
    /// The connection is cut when the server answers: it has done what it was told.
    CutAnswer,
}

/// Which connections are dead, though nobody was told.
#[derive(Clone, Copy, Debug, Default)]
struct Dead {
    /// Those that were made before this one.
    before: usize,
    /// Whether what was said on them arrives after all.
    is_over: bool,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    weather: watch::Sender<Weather>,
    dead: watch::Sender<Dead>,
    made: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, forecast) = watch::channel(Weather::Fair);
        let (dead, deaths) = watch::channel(Dead::default());
        let made = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let counter = Arc::clone(&made);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let number = counter.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connection(client, server, forecast.clone(), deaths.clone(), number));
            }
        });
        Self { address, weather, dead, made, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// No connection that there is by now works any more, and nobody is told; new
    /// ones do.
    pub(crate) fn forget_connections(&self) {
        self.dead.send_replace(Dead { before: self.made.load(Ordering::SeqCst), is_over: false });
    }

    /// What was said on those connections arrives.
    pub(crate) fn remember_connections(&self) {
        self.dead.send_modify(|dead| dead.is_over = true);
    }

    pub(crate) fn weather(&self) -> Weather {
        *self.weather.borrow()
    }
}

async fn connection(
    client: TcpStream,
    server: TcpStream,
    weather: watch::Receiver<Weather>,
    mut deaths: watch::Receiver<Dead>,
    number: usize,
) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // When one direction ends, the connection does.
    tokio::select! {
        () = requests(from_client, to_server, weather.clone(), &mut deaths, number) => {}
        () = answers(from_server, to_client, weather) => {}
    }
}

/// What is held up arrives later: TCP loses nothing of a connection that goes on.
async fn clears(weather: &mut watch::Receiver<Weather>, holds: impl FnMut(&Weather) -> bool) -> Weather {
    let mut holds = holds;
    weather.wait_for(|weather| !holds(weather)).await.map_or(Weather::Reset, |weather| *weather)
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    deaths: &mut watch::Receiver<Dead>,
    number: usize,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(size @ 1..) = from.read(&mut buffer).await else { return };
        if clears(&mut weather, |weather| *weather == Weather::Lost).await == Weather::Reset {
            return;
        }
        if deaths.wait_for(|dead| number >= dead.before || dead.is_over).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..size]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(size @ 1..) = from.read(&mut buffer).await else { return };
        let now = clears(&mut weather, |weather| matches!(weather, Weather::Lost | Weather::Deaf)).await;
        let bytes = &buffer[..size];
        let written = match now {
            Weather::Fair | Weather::Lost | Weather::Deaf => to.write_all(bytes).await,
            Weather::Reset | Weather::CutAnswer => return,
            Weather::Late(delay) => {
                tokio::time::sleep(delay).await;
                to.write_all(bytes).await
            }
            Weather::Trickle => {
                let mut written = Ok(());
                for byte in bytes {
                    written = to.write_all(std::slice::from_ref(byte)).await;
                    if *weather.borrow() == Weather::Trickle {
                        tokio::time::sleep(Duration::from_millis(30)).await;
                    }
                }
                written
            }
        };
        if written.is_err() {
            return;
        }
    }
}
