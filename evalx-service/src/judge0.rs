//! Judge0's documents: what its API says of a submission, and what its
//! callbacks bring.

use evalx_queue::JobView;
use serde_json::{Value, json};

/// What a callback brings.
#[must_use]
pub fn callback(job: &JobView, _payload: &[u8]) -> Value {
    json!({ "token": job.id })
}
