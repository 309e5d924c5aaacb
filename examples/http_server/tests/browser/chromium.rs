//! [`Chromium`]: a browser without a window, and the protocol of its developer
//! tools: JSON with a zero byte after each message, over two pipes.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long an answer of the browser may take beyond what was asked for.
const PATIENCE: Duration = Duration::from_secs(60);

const NAMES: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

/// A browser. It ends when this is dropped.
pub(crate) struct Chromium {
    child: Child,
    requests: Option<ChildStdin>,
    messages: Receiver<Value>,
    events: Vec<Event>,
    last_id: u64,
    _profile: TempDir,
}

/// Something that a tab told by itself.
pub(crate) struct Event {
    pub(crate) tab: String,
    pub(crate) name: String,
    pub(crate) parameters: Value,
}

impl Chromium {
    /// Starts the browser; the error says why this machine can't.
    pub(crate) fn start() -> Result<Self, String> {
        let program = find().ok_or("no Chromium: install Debian's package chromium")?;
        let profile = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut command = Command::new("sh");
        // The protocol is spoken on descriptors 3 and 4, which a shell can make of 0 and 1.
        command.args(["-c", r#"exec "$@" 3<&0 4>&1 0</dev/null 1>/dev/null"#, "sh"]).arg(program);
        command.args(["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"]);
        command.args(["--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync"]);
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        if is_root {
            // Its own sandbox refuses root. It opens only our page here.
            command.arg("--no-sandbox");
        }
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.env("HOME", profile.path());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("Chromium could not be started: {error}"))?;
        let (requests, answers) = (child.stdin.take(), child.stdout.take());
        let (told, messages) = channel();
        // The thread ends with the browser's end of the pipe.
        std::thread::spawn(move || {
            let Some(answers) = answers else { return };
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let parsed = serde_json::from_slice(&message);
                if parsed.is_ok_and(|value: Value| told.send(value).is_err()) {
                    return;
                }
            }
        });
        let mut this = Self { child, requests, messages, events: Vec::new(), last_id: 0, _profile: profile };
        this.call(None, "Browser.getVersion", &json!({}), Duration::ZERO)?;
        Ok(this)
    }

    /// Asks for something and waits for the answer, for `time` longer than for another.
    pub(crate) fn call(
        &mut self,
        tab: Option<&str>,
        method: &str,
        parameters: &Value,
        time: Duration,
    ) -> Result<Value, String> {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(tab) = tab {
            message["sessionId"] = tab.into();
        }
        let requests = self.requests.as_mut().ok_or("Chromium has ended")?;
        write!(requests, "{message}\0")
            .map_err(|error| format!("{method}: Chromium does not listen: {error}"))?;
        let deadline = Instant::now() + PATIENCE + time;
        loop {
            let mut answer = self.next(deadline).map_err(|error| format!("{method}: {error}"))?;
            if answer["id"] == id {
                let error = answer["error"]["message"].as_str().map(|message| format!("{method}: {message}"));
                return error.map_or_else(|| Ok(answer["result"].take()), Err);
            }
            self.keep(answer);
        }
    }

    /// Waits for an event of this name in this tab, if none has come since it was asked for last.
    pub(crate) fn wait_for(&mut self, tab: &str, name: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(index) = self.events.iter().position(|event| event.tab == tab && event.name == name) {
                self.events.remove(index);
                return Ok(());
            }
            let message = self.next(deadline).map_err(|error| format!("{name}: {error}"))?;
            self.keep(message);
        }
    }

    /// All that this tab has told and nobody has waited for.
    pub(crate) fn take_events(&mut self, tab: &str) -> Vec<Event> {
        let (own, others) = std::mem::take(&mut self.events).into_iter().partition(|event| event.tab == tab);
        self.events = others;
        own
    }

    fn next(&self, deadline: Instant) -> Result<Value, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.messages.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => "Chromium does not answer".to_owned(),
            RecvTimeoutError::Disconnected => "Chromium has ended".to_owned(),
        })
    }

    fn keep(&mut self, mut message: Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (tab, name) = (text(&message["sessionId"]), text(&message["method"]));
        if !name.is_empty() {
            self.events.push(Event { tab, name, parameters: message["params"].take() });
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It ends at the end of its requests, and is made to if it does not.
        self.requests = None;
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Ok(message) = self.next(deadline) {
            drop(message);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("EVALX_BROWSER") {
        return Some(program.into());
    }
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}
