//! One request and the head of its answer, over a connection that is there.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::connect::Connection;
use crate::{Answer, Failure, parse_retry_after};

/// The most that the head of an answer may have.
const LONGEST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 100;
/// The most of an answer's body that is read, to be thrown away, so that a
/// receiver that is still writing is not cut off; and for how long.
const LONGEST_BODY: usize = 64 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// An answer whose body is still to come.
pub(crate) struct Exchange {
    response: Response<Incoming>,
    /// The task that reads and writes; it ends with this.
    _driver: JoinSet<()>,
}

impl Exchange {
    /// Sends the request and waits for the head of the answer.
    pub(crate) async fn begin(
        connection: Box<dyn Connection>,
        request: Request<Full<Bytes>>,
    ) -> Result<Self, Failure> {
        let (mut sender, driver) = http1::Builder::new()
            .max_buf_size(LONGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .handshake(TokioIo::new(connection))
            .await
            .map_err(|_| Failure::Broken)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // What goes wrong here is an error of the request too.
            let _ = driver.await;
        });
        let response = sender.send_request(request).await.map_err(|_| Failure::Broken)?;
        Ok(Self { response, _driver: tasks })
    }

    /// What counts of the answer.
    pub(crate) fn answer(&self, now: SystemTime) -> Answer {
        let answer = Answer::new(self.response.status().as_u16());
        let asked = self.response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        match asked.and_then(|value| parse_retry_after(value, now)) {
            Some(wait) => answer.with_retry_after(wait),
            None => answer,
        }
    }

    /// Reads what is left of the answer, within bounds, and ends the connection.
    pub(crate) async fn finish(self) {
        let mut body = self.response.into_body();
        let drain = async {
            let mut left = LONGEST_BODY;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(length) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        // Whatever comes of it, the delivery is judged already.
        let _ = timeout(LINGER, drain).await;
    }
}
