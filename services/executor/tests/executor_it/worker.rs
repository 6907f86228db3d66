//! A worker that does not deduplicate: it counts every call by its key.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use journal::{
    Journal,
    request::{Reply, skill_subject},
};
use serde_json::{Value, json};

use super::world::workspace;

#[derive(Clone)]
pub struct Worker {
    calls: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    under_way: Arc<Mutex<(usize, usize)>>,
}

impl Worker {
    /// Serves `shop`, each call taking `takes`.
    pub async fn serve(journal: &Arc<dyn Journal>, takes: Duration) -> Self {
        Self::serve_busy(journal, takes, 0).await
    }

    /// The same, but the first `busy` calls of each key are told that it is still at it.
    pub async fn serve_busy(journal: &Arc<dyn Journal>, takes: Duration, busy: usize) -> Self {
        let worker = Self {
            calls: Arc::default(),
            under_way: Arc::default(),
        };
        let subject = skill_subject(&workspace(), "shop");
        let mut requests = journal.serve(&subject, "shop").await.unwrap();
        let serving = worker.clone();
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let body: Value = serde_json::from_slice(&request.payload).unwrap();
                let key = body["idempotencyKey"].as_str().unwrap().to_owned();
                let calls = {
                    let mut all = serving.calls.lock().unwrap();
                    let calls = all.entry(key).or_default();
                    calls.push(body.clone());
                    calls.len()
                };
                {
                    let mut under_way = serving.under_way.lock().unwrap();
                    under_way.0 += 1;
                    under_way.1 = under_way.1.max(under_way.0);
                }
                let serving = serving.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(takes).await;
                    serving.under_way.lock().unwrap().0 -= 1;
                    let answer = if calls <= busy {
                        json!({ "inProgress": true })
                    } else {
                        json!({ "output": { "did": body["action"], "with": body["inputs"] } })
                    };
                    let reply = Reply {
                        headers: Vec::new(),
                        payload: answer.to_string().into_bytes().into(),
                    };
                    // Whoever asked may be dead by now.
                    let _ = request.respond(reply).await;
                });
            }
        });
        worker
    }

    /// How often each key was called.
    pub fn counts(&self) -> Vec<usize> {
        self.calls.lock().unwrap().values().map(Vec::len).collect()
    }

    /// The most calls that were under way at once.
    pub fn widest(&self) -> usize {
        self.under_way.lock().unwrap().1
    }
}
