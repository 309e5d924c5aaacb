//! `GET /statistics`: how many submissions there are, of which languages, and
//! how they did. It counts what is still known: results go with their time.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{RawQuery, State};
use axum::{Extension, Json};
use evalx_queue::{JobState, JobView, ListQuery, Timestamp};
use evalx_service::judge0::{STATUSES, status_id};
use evalx_service::rfc3339;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::answer::Refusal;
use super::parameters::Parameters;
use super::{Client, Flavour};
use crate::app::App;

/// How long one count serves.
const FRESH: Duration = Duration::from_secs(600);
/// The most submissions in one state that are looked at, the latest.
const MOST: u64 = 5_000;
/// How far back days are counted one by one.
const DAYS: u64 = 30;
const DAY: u64 = 24 * 60 * 60 * 1000;

/// The counts that are fresh, by tenant and flavour.
pub(crate) type Statistics = Mutex<HashMap<(String, Flavour), (Instant, Value)>>;

/// `GET /statistics`, of the tenant's own submissions.
pub(super) async fn statistics(
    State(app): State<App>,
    Extension(flavour): Extension<Flavour>,
    Client(tenant): Client,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Refusal> {
    let renewed = Parameters::of_query(query.as_deref()).flag("invalidate_cache").unwrap_or(false);
    // Held while it counts: who comes meanwhile gets the same count.
    let mut fresh = app.statistics.lock().await;
    fresh.retain(|_, (counted, _)| counted.elapsed() < FRESH);
    let key = (tenant.0, flavour);
    if let Some((_, counts)) = fresh.get(&key).filter(|_| !renewed) {
        return Ok(Json(counts.clone()));
    }
    let mut counts = Counts::default();
    for state in JobState::ALL {
        let mut offset = 0;
        while offset < MOST {
            let page = app.service.list(state, offset, ListQuery::MOST).await?;
            for job in page.jobs.into_iter().filter(|job| job.tenant == key.0) {
                // A page of the queue has no results.
                counts.add(&app.service.find(&key.0, job.id).await?.unwrap_or(job));
            }
            offset += ListQuery::MOST;
            if offset >= page.total {
                break;
            }
        }
    }
    let counts = counts.document(&app, flavour);
    fresh.insert(key, (Instant::now(), counts.clone()));
    Ok(Json(counts))
}

#[derive(Default)]
struct Counts {
    total: u64,
    bytes: usize,
    by_day: BTreeMap<u64, u64>,
    by_language: BTreeMap<String, u64>,
    by_status: BTreeMap<usize, u64>,
}

impl Counts {
    fn add(&mut self, job: &JobView) {
        self.total += 1;
        self.bytes += job.result.as_ref().map_or(0, bytes::Bytes::len);
        *self.by_day.entry(job.enqueued_at.as_millis() / DAY).or_default() += 1;
        *self.by_language.entry(job.language.clone()).or_default() += 1;
        *self.by_status.entry(status_id(job)).or_default() += 1;
    }

    fn document(&self, app: &App, flavour: Flavour) -> Value {
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = |time| u64::try_from(since(time).as_millis()).unwrap_or(u64::MAX);
        let now = Timestamp::from_millis(millis(SystemTime::now()));
        let today = now.as_millis() / DAY;
        let date = |day: u64| rfc3339(Timestamp::from_millis(day * DAY))[..10].to_owned();
        let days: serde_json::Map<String, Value> = self
            .by_day
            .range(today.saturating_sub(DAYS)..)
            .map(|(day, count)| (date(*day), json!(count)))
            .collect();
        let mut languages: Vec<(u32, &str, u64)> = flavour
            .table()
            .iter()
            .filter_map(|(id, name)| {
                let language = flavour.language(app, *id)?;
                Some((*id, *name, *self.by_language.get(&language.id)?))
            })
            .collect();
        // Several ids of one language are told as the first of them.
        let mut told = std::collections::BTreeSet::new();
        languages.retain(|(id, ..)| {
            flavour.language(app, *id).is_some_and(|language| told.insert(language.id.clone()))
        });
        languages.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
        let language = |(id, name, count): &(u32, &str, u64)| json!({ "language": { "id": id, "name": name }, "count": count });
        let status = |(id, count): (&usize, &u64)| json!({ "status": { "id": id, "name": STATUSES.get(id.wrapping_sub(1)) }, "count": count });
        json!({
            "created_at": rfc3339(now),
            "cached_until": rfc3339(Timestamp::from_millis(millis(SystemTime::now() + FRESH))),
            "submissions": {
                "total": self.total,
                "today": self.by_day.get(&today).copied().unwrap_or(0),
                "last_30_days": days,
            },
            "languages": languages.iter().map(language).collect::<Vec<_>>(),
            "statuses": self.by_status.iter().map(status).collect::<Vec<_>>(),
            // There is no database: these are the results that are kept.
            "database": { "size_pretty": format!("{} kB", self.bytes / 1024), "size_in_bytes": self.bytes },
        })
    }
}
