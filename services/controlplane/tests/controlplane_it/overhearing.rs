//! What one workspace could hear of another without asking, and what its users try at the broker.

use journal::permissions::{CALLER_INBOX_PREFIX, caller_name};
use testkit::guest::{Guest, Heard};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use crate::{
    doors::{Doors, PATIENCE},
    sides::{Ids, ROLES, Side},
};

/// Everything that hears without asking.
pub struct Ears {
    /// Those that tell of what is one's own, each with its path.
    feeds: Vec<(&'static str, watch::Receiver<String>)>,
    /// Those that are asked for what is another's, or nobody's.
    silent: Vec<watch::Receiver<String>>,
    inboxes: Vec<mpsc::UnboundedReceiver<Heard>>,
}

/// What a live feed tells from now on.
async fn told_by(doors: &Doors, workspace: &str, who: &str, path: &str) -> watch::Receiver<String> {
    let mut response = doors.feed(workspace, who, path).await;
    assert_eq!(response.status(), 200, "{path}");
    let (tell, told) = watch::channel(String::new());
    tokio::spawn(async move {
        while let Ok(Some(chunk)) = response.chunk().await {
            let text = String::from_utf8_lossy(&chunk);
            tell.send_modify(|told| told.push_str(&text));
        }
    });
    told
}

impl Ears {
    pub async fn of(doors: &Doors, side: &Side) -> Self {
        let mut ears = Self {
            feeds: Vec::new(),
            silent: Vec::new(),
            inboxes: Vec::new(),
        };
        let workspace = side.workspace;
        for (role, path) in [
            ("admin", "/v1/events"),
            ("approver", "/v1/approvals/events"),
        ] {
            let told = told_by(doors, workspace, &side.person(role), path).await;
            ears.feeds.push((path, told));
        }
        for (role, _) in ROLES {
            let person = doors.person(workspace, &side.person(role));
            // Of its own account: others' answers have the same subjects in theirs.
            let answers = format!("{CALLER_INBOX_PREFIX}.>");
            ears.inboxes.push(person.guest.listen(&answers).await);
        }
        ears
    }

    /// Asks for the events of an execution that is another's, and of one that is nobody's, from the
    /// beginning on.
    pub async fn listen_to(&mut self, doors: &Doors, side: &Side, theirs: &Ids) {
        for ids in [theirs, &side.nowhere()] {
            let path = format!("/v1/events?after=v1&executionId={}", ids.execution);
            let told = told_by(doors, side.workspace, &side.person("admin"), &path).await;
            self.silent.push(told);
        }
    }

    /// Waits until the feed has told of `execution`, and each of something that is marked, then
    /// looks through all that was heard.
    pub async fn heard_nothing_of(&mut self, side: &Side, other: &Side, execution: &str) {
        for (number, (path, feed)) in self.feeds.iter_mut().enumerate() {
            // Not every execution comes to a vote.
            let is_told = feed.wait_for(|told| {
                told.contains(side.marker) && (number > 0 || told.contains(execution))
            });
            let waited = timeout(PATIENCE, is_told).await;
            assert!(
                waited.is_ok_and(|told| told.is_ok()),
                "{path} does not tell of the last"
            );
        }
        let (theirs, own) = (other.executions.borrow(), side.executions.borrow());
        for (path, feed) in &self.feeds {
            let feed = feed.borrow();
            side.looks_through(other, &feed, path);
            assert!(theirs.iter().all(|ids| !feed.contains(&ids.execution)));
        }
        let feed = self.feeds[0].1.borrow();
        assert!(feed.contains("data:"), "{}", *feed);
        let told = own.iter().filter(|ids| feed.contains(&ids.execution));
        assert!(told.count() > own.len() / 2, "the feed tells of too little");
        for feed in &self.silent {
            let feed = feed.borrow();
            assert!(!feed.contains("data:"), "{}", *feed);
        }
        assert!(!self.silent.is_empty());
        drop(feed);
        let mut answers = 0;
        for inbox in &mut self.inboxes {
            while let Ok(heard) = inbox.try_recv() {
                let text = format!(
                    "{} {:?} {}",
                    heard.subject,
                    heard.headers,
                    String::from_utf8_lossy(&heard.payload)
                );
                side.looks_through(other, &text, &"an inbox on NATS");
                answers += 1;
            }
        }
        assert!(answers > 10, "only {answers} answers came to the inboxes");
        let marked = side.marked.borrow();
        assert!(marked.contains("an inbox on NATS"), "{marked:#?}");
    }
}

/// What each of its users tries at the broker.
pub async fn is_refused_by_the_broker(doors: &Doors, side: &Side, other: &Side) {
    let (their, them) = (other.workspace, other.person("submitter"));
    for (role, _) in ROLES {
        let me = side.person(role);
        let person = doors.person(side.workspace, &me);
        let user = caller_name(&person.workspace, &person.id);
        let mut guest = doors.guest(&user, CALLER_INBOX_PREFIX).await;
        tries_what_is_anothers(&mut guest, &user, their, &them).await;
        // As whom it is there, it may not be in the other workspace.
        for subject in [
            format!("cp.api.{their}.{me}.execution.list"),
            format!("cp.inbox.{their}.{me}"),
        ] {
            assert!(!guest.may_publish(&subject).await, "{user}: {subject}");
        }
        let own = format!("cp.inbox.{}.{me}", side.workspace);
        assert!(guest.may_publish(&own).await, "{user}: {own}");
    }
}

pub async fn tries_what_is_anothers(guest: &mut Guest, user: &str, their: &str, them: &str) {
    for subject in [
        format!("cp.api.{their}.>"),
        format!("cp.api.{their}.{them}.>"),
        format!("cp.inbox.{their}.>"),
        format!("cp.refused.{their}.>"),
        format!("controlPlane.{their}.>"),
        format!("events.{their}.>"),
        format!("cp.skill.{their}.>"),
        "_INBOX_intake.>".to_owned(),
        "_INBOX_executor.>".to_owned(),
        "_R_.>".to_owned(),
        "cp.>".to_owned(),
        "$JS.>".to_owned(),
        ">".to_owned(),
    ] {
        assert!(
            !guest.may_subscribe(&subject).await,
            "{user} may hear {subject}"
        );
    }
    for subject in [
        format!("cp.api.{their}.{them}.intent.submit"),
        format!("cp.inbox.{their}.{them}"),
        format!("cp.refused.{their}.{them}.1"),
        format!("controlPlane.{their}.execution.2a.some-id.1.intent.received"),
        format!("events.{their}.execution.2a.some-id.1.intent.received"),
        format!("cp.skill.{their}.desk"),
        "_INBOX.x".to_owned(),
        "_INBOX_intake.x".to_owned(),
        "$JS.API.STREAM.MSG.GET.CONTROL_PLANE_00".to_owned(),
        "$SRV.PING".to_owned(),
    ] {
        assert!(
            !guest.may_publish(&subject).await,
            "{user} may say {subject}"
        );
    }
}
