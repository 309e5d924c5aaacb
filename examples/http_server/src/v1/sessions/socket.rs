//! One session over its WebSocket, from `start` to the end.
//!
//! Two halves run side by side: one listens, so that who leaves is noticed and
//! who cancels is heard at any time; the other tells what the program does, as
//! fast as it is taken. Whichever ends first ends the other, and the program.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evalx_core::{ErrorKind, OutputStream};
use evalx_service::{
    EndReason, Engine, Listener, ReportDocument, Said, Seat, SessionEnd, Typist, compile_document, hint_text,
};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::message::{Heard, Spoken};
use super::start;
use super::text::{Piece, TextStream};
use crate::app::App;
use crate::problem::Problem;

/// How long a client may take to say what is to be run.
const START: Duration = Duration::from_secs(10);
/// How often a silent client is asked whether it is there.
const PING: Duration = Duration::from_secs(15);
/// How long a client may be silent that was asked.
const GONE: Duration = Duration::from_secs(45);

/// Why a session ends before its program.
enum Stop {
    /// The client has left, or takes nothing any more.
    Gone,
    /// What it said is wrong.
    Wrong(Problem),
}

/// Serves a session.
pub(super) async fn serve(socket: WebSocket, app: App, engine: Arc<Engine>, seat: Seat) {
    let patience = seat.rules().idle;
    let (sink, stream) = socket.split();
    let (mut ear, mut mouth) = (Ear(stream), Mouth { sink, patience });
    let (code, reason) = match Box::pin(talk(&app, &engine, seat, &mut ear, &mut mouth)).await {
        Ok(Some(EndReason::ShuttingDown)) => (close_code::AWAY, "the server is shutting down"),
        Ok(_) => (close_code::NORMAL, ""),
        Err(Stop::Gone) => return,
        Err(Stop::Wrong(problem)) => {
            // Who has left need not be told.
            let _ = mouth.say(&Spoken::Error { problem: &problem }).await;
            (close_code::POLICY, "the last message says why")
        }
    };
    mouth.close(code, reason).await;
    ear.drain().await;
}

async fn talk(
    app: &App,
    engine: &Engine,
    seat: Seat,
    ear: &mut Ear,
    mouth: &mut Mouth,
) -> Result<Option<EndReason>, Stop> {
    let late = || Stop::Wrong(Problem::new(StatusCode::REQUEST_TIMEOUT, "no `start` came in time"));
    let text = tokio::select! {
        text = timeout(START, ear.start()) => text.map_err(|_| late())??,
        () = seat.closing() => return Ok(Some(EndReason::ShuttingDown)),
    };
    let interactive = start::read(app, seat.rules(), &text).map_err(Stop::Wrong)?;
    let (typist, sitting, said) = interactive.sit(seat);
    let driven = async { sitting.drive(engine).await.map_err(|error| stop_of(&error)) };
    let backend = engine.sandbox().capabilities().backend;
    let told = mouth.tell(said, &backend);
    let end = tokio::select! {
        stop = ear.listen(typist) => return Err(stop),
        ran = async { tokio::try_join!(driven, told) } => ran?.0,
    };
    let SessionEnd { report, reason, hints, backend, .. } = end;
    let report = report.map(|report| Box::new(ReportDocument::new(&report, b"", b"", &backend)));
    let hint = hints.first().map(hint_text);
    mouth
        .say(&Spoken::Finished { report, reason: reason.map(EndReason::as_str), hint, hints: &hints })
        .await?;
    Ok(reason)
}

/// What a client is told of an error of the sandbox.
fn stop_of(error: &evalx_core::Error) -> Stop {
    let status = match error.kind() {
        ErrorKind::InvalidRequest | ErrorKind::Unsupported => StatusCode::UNPROCESSABLE_ENTITY,
        _ => {
            tracing::error!(error = %error.chain(), "the sandbox could not run a session");
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    Stop::Wrong(Problem::new(status, error.to_string()))
}

/// The half that listens.
struct Ear(SplitStream<WebSocket>);

impl Ear {
    /// The next text or stdin.
    async fn next(&mut self) -> Result<Message, Stop> {
        loop {
            match timeout(GONE, self.0.next()).await {
                Err(_) | Ok(None | Some(Ok(Message::Close(_)))) => return Err(Stop::Gone),
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Ok(Some(Ok(message))) => return Ok(message),
                Ok(Some(Err(error))) => {
                    let detail = format!("what came is no message that is taken: {error}");
                    return Err(Stop::Wrong(Problem::new(StatusCode::BAD_REQUEST, detail)));
                }
            }
        }
    }

    async fn start(&mut self) -> Result<String, Stop> {
        match self.next().await? {
            Message::Text(text) => Ok(text.as_str().to_owned()),
            _ => Err(Stop::Wrong(Problem::new(StatusCode::BAD_REQUEST, "the first message must be `start`"))),
        }
    }

    /// Passes on what comes, until nothing more can.
    async fn listen(&mut self, mut typist: Typist) -> Stop {
        loop {
            let heard = match self.next().await {
                Ok(Message::Binary(bytes)) => Heard::Stdin(bytes.into()),
                Ok(Message::Text(text)) => match Heard::read(&text) {
                    Ok(heard) => heard,
                    Err(problem) => return Stop::Wrong(problem),
                },
                Ok(_) => continue,
                Err(stop) => return stop,
            };
            let taken = match heard {
                Heard::Stdin(bytes) => typist.type_in(&bytes),
                Heard::CloseStdin => {
                    typist.close_stdin();
                    Ok(())
                }
                Heard::Control(control) => typist.control(control),
            };
            if taken.is_err() {
                let detail = "more was sent than may wait for a program that does not read";
                return Stop::Wrong(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
        }
    }

    /// Waits a moment for the client's own farewell, so that ours is not lost with the connection.
    async fn drain(&mut self) {
        const FAREWELL: Duration = Duration::from_secs(1);
        let _ = timeout(FAREWELL, async { while let Some(Ok(_)) = self.0.next().await {} }).await;
    }
}

/// The half that tells.
struct Mouth {
    sink: SplitSink<WebSocket, Message>,
    /// How long a client may take nothing.
    patience: Duration,
}

impl Mouth {
    async fn send(&mut self, message: Message) -> Result<(), Stop> {
        match timeout(self.patience, self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Stop::Gone),
        }
    }

    async fn say(&mut self, spoken: &Spoken<'_>) -> Result<(), Stop> {
        // Nothing in it can fail to be written as JSON.
        let text = serde_json::to_string(spoken).unwrap_or_default();
        self.send(Message::Text(text.into())).await
    }

    /// Tells what the program says, to its end.
    async fn tell(&mut self, mut said: Listener, backend: &str) -> Result<(), Stop> {
        let mut pings = interval(PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.tick().await;
        let (mut stdout, mut stderr) = (TextStream::default(), TextStream::default());
        loop {
            let word = tokio::select! {
                word = said.recv() => word,
                _ = pings.tick() => {
                    self.send(Message::Ping(Vec::new().into())).await?;
                    continue;
                }
            };
            match word {
                Some(Said::Compiled(compile)) => {
                    let report = Box::new(compile_document(&compile, backend));
                    self.say(&Spoken::Compiled { report }).await?;
                }
                Some(Said::Started) => self.say(&Spoken::Started).await?,
                Some(Said::Output(OutputStream::Stdout, bytes)) => {
                    self.output("stdout", stdout.add(&bytes)).await?;
                }
                Some(Said::Output(OutputStream::Stderr, bytes)) => {
                    self.output("stderr", stderr.add(&bytes)).await?;
                }
                Some(_) => {}
                None => break,
            }
        }
        self.output("stdout", stdout.finish()).await?;
        self.output("stderr", stderr.finish()).await
    }

    async fn output(&mut self, stream: &'static str, piece: Option<Piece>) -> Result<(), Stop> {
        match piece {
            None => Ok(()),
            Some(Piece::Text(text)) => {
                self.say(&Spoken::Output { stream, text: Some(&text), base64: None }).await
            }
            Some(Piece::Bytes(bytes)) => {
                let base64 = Some(STANDARD.encode(bytes));
                self.say(&Spoken::Output { stream, text: None, base64 }).await
            }
        }
    }

    async fn close(&mut self, code: u16, reason: &'static str) {
        // Who has left need not be told.
        let _ = self.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
    }
}
