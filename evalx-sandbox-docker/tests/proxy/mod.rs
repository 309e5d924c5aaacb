//! A socket in front of the engine's, which can be cut off.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinHandle};

/// The engine's own socket.
const ENGINE: &str = "/var/run/docker.sock";

/// Passes everything on until it is cut.
#[derive(Debug)]
pub(crate) struct Proxy {
    folder: TempDir,
    accepting: Mutex<Option<JoinHandle<()>>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let proxy = Self { folder, accepting: Mutex::new(None), connections: Arc::default() };
        proxy.mend();
        proxy
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.path().display())
    }

    /// Ends every connection, and takes no more.
    pub(crate) fn cut(&self) {
        if let Some(task) = self.accepting.lock().expect("no panic").take() {
            task.abort();
        }
        std::fs::remove_file(self.path()).expect("the socket is there");
        for connection in self.connections.lock().expect("no panic").drain(..) {
            connection.abort();
        }
    }

    /// Takes connections again.
    pub(crate) fn mend(&self) {
        let listener = StdListener::bind(self.path()).expect("the socket is made");
        listener.set_nonblocking(true).expect("the socket is usable");
        let listener = UnixListener::from_std(listener).expect("the socket is usable");
        let connections = Arc::clone(&self.connections);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = tokio::spawn(async move { pass(client).await.unwrap_or(()) });
                connections.lock().expect("no panic").push(connection.abort_handle());
            }
        });
        *self.accepting.lock().expect("no panic") = Some(task);
    }
}

async fn pass(mut client: UnixStream) -> io::Result<()> {
    let mut engine = UnixStream::connect(ENGINE).await?;
    tokio::io::copy_bidirectional(&mut client, &mut engine).await.map(drop)
}
