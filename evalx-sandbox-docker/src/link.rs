//! [`Link`]: the stream to a container's agent, as messages.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use evalx_agent::wire::{FromAgent, Inbox, ToAgent, VERSION};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::engine;
use crate::error::DockerError;

/// How much of an agent's last words is kept, and how long they may take.
const LAST_WORDS: usize = 4 << 10;
const MOMENT: Duration = Duration::from_millis(200);

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// Speaks with one agent. Once something failed, everything does.
pub(crate) struct Link {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Output,
    inbox: Inbox,
    /// What goes out with the next message.
    waiting: Vec<u8>,
    /// What came on stderr: an agent that ends says why.
    words: Vec<u8>,
    broken: Option<String>,
}

impl Link {
    pub(crate) fn new(streams: AttachContainerResults) -> Self {
        Self {
            input: streams.input,
            output: streams.output,
            inbox: Inbox::default(),
            waiting: Vec::new(),
            words: Vec::new(),
            broken: None,
        }
    }

    /// Waits for the agent to say that it is there.
    pub(crate) async fn greet(&mut self) -> Result<(), DockerError> {
        match self.next().await? {
            FromAgent::Hello(VERSION) => Ok(()),
            FromAgent::Hello(other) => {
                Err(self.lost(format!("its agent speaks version {other} of {VERSION}")))
            }
            FromAgent::Broken(why) => Err(DockerError::Agent(why)),
            _ => Err(self.lost("its agent did not greet".to_owned())),
        }
    }

    /// Has a message go out with the next that is sent.
    pub(crate) fn queue(&mut self, message: &ToAgent) {
        self.waiting.extend_from_slice(&message.encode());
    }

    /// Sends a message, behind what waits.
    pub(crate) async fn send(&mut self, message: &ToAgent) -> Result<(), DockerError> {
        self.queue(message);
        self.flush().await
    }

    /// Whether something waits.
    pub(crate) fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what waits.
    ///
    /// # Cancel safety
    ///
    /// What was not sent when the future is dropped waits on.
    ///
    /// What comes meanwhile is taken: an engine that has lost the container may
    /// leave the sender waiting for ever, and says so only on the other way.
    pub(crate) async fn flush(&mut self) -> Result<(), DockerError> {
        self.check()?;
        let mut flushed = false;
        while !flushed {
            let rest = &self.waiting[..];
            let step = tokio::select! {
                sent = async {
                    if rest.is_empty() { self.input.flush().await.map(|()| None) } else { self.input.write(rest).await.map(Some) }
                } => Ok(sent),
                output = self.output.next() => Err(output),
            };
            match step {
                Ok(Ok(None)) => flushed = true,
                Ok(Ok(Some(count))) => drop(self.waiting.drain(..count)),
                Ok(Err(error)) => {
                    // It may have said why before it went.
                    self.drain().await;
                    return Err(self.lost(error.to_string()));
                }
                Err(output) => self.take(output)?,
            }
        }
        Ok(())
    }

    /// The next message.
    ///
    /// # Cancel safety
    ///
    /// No message is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<FromAgent, DockerError> {
        loop {
            self.check()?;
            match self.inbox.next(FromAgent::decode) {
                Ok(Some(FromAgent::Broken(why))) => {
                    self.broken = Some(why.clone());
                    return Err(DockerError::Agent(why));
                }
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(_) => return Err(self.lost("its agent sent no message".to_owned())),
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), DockerError> {
        let output = self.output.next().await;
        self.take(output)
    }

    fn take(&mut self, output: Option<Result<LogOutput, bollard::errors::Error>>) -> Result<(), DockerError> {
        match output {
            Some(Ok(output)) => {
                match engine::split(output) {
                    Ok(message) => self.inbox.push(&message),
                    Err(words) => {
                        let room = LAST_WORDS.saturating_sub(self.words.len());
                        self.words.extend_from_slice(&words[..words.len().min(room)]);
                    }
                }
                Ok(())
            }
            Some(Err(error)) => Err(self.lost(error.to_string())),
            None => Err(self.lost("it ended".to_owned())),
        }
    }

    /// Why the agent has ended, if it has.
    pub(crate) async fn last_words(&mut self) -> Option<DockerError> {
        let end = async {
            loop {
                if let Err(error) = self.more().await {
                    return error;
                }
            }
        };
        tokio::time::timeout(MOMENT, end).await.ok()
    }

    /// Takes what has come already, for the sake of its last words.
    async fn drain(&mut self) {
        let all = async { while self.more().await.is_ok() {} };
        // What does not come in a moment was not said.
        let _ = tokio::time::timeout(MOMENT, all).await;
        self.broken = None;
    }

    fn check(&self) -> Result<(), DockerError> {
        self.broken.clone().map_or(Ok(()), |why| Err(DockerError::Lost(why)))
    }

    /// Gives the agent up.
    pub(crate) fn lost(&mut self, why: String) -> DockerError {
        let words = String::from_utf8_lossy(&self.words);
        let why = if words.trim().is_empty() { why } else { format!("{why}; it said: {}", words.trim()) };
        DockerError::Lost(self.broken.insert(why).clone())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("broken", &self.broken).finish_non_exhaustive()
    }
}
