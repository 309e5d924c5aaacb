//! [`Live`]: a step whose output passes through as it comes.

use async_trait::async_trait;
use evalx_core::{Control, ControlReceiver, ControlSender, OutputStream, Stdin, StepIo};
use tokio::io::{AsyncWriteExt, Stderr, Stdout};

/// Passes a step's stdout and stderr on to those of this process.
///
/// If nobody reads them any more, the step is cancelled, as a shell pipeline
/// ends what writes into a `head` that has seen enough.
pub(crate) struct Live {
    stdin: Stdin,
    controls: Option<ControlReceiver>,
    cancel: ControlSender,
    stdout: Stdout,
    stderr: Stderr,
    reader_gone: bool,
}

impl Live {
    pub(crate) fn new(stdin: Stdin, controls: ControlReceiver, cancel: ControlSender) -> Self {
        Self {
            stdin,
            controls: Some(controls),
            cancel,
            stdout: tokio::io::stdout(),
            stderr: tokio::io::stderr(),
            reader_gone: false,
        }
    }
}

#[async_trait]
impl StepIo for Live {
    fn stdin(&mut self) -> Stdin {
        std::mem::replace(&mut self.stdin, Stdin::Empty)
    }

    fn controls(&mut self) -> Option<ControlReceiver> {
        self.controls.take()
    }

    async fn output(&mut self, stream: OutputStream, piece: &[u8]) {
        if self.reader_gone {
            return;
        }
        let written = match stream {
            OutputStream::Stdout => write(&mut self.stdout, piece).await,
            OutputStream::Stderr => write(&mut self.stderr, piece).await,
        };
        if written.is_err() {
            self.reader_gone = true;
            self.cancel.send(Control::Cancel).await;
        }
    }
}

async fn write(to: &mut (impl AsyncWriteExt + Unpin), piece: &[u8]) -> std::io::Result<()> {
    to.write_all(piece).await?;
    to.flush().await
}
