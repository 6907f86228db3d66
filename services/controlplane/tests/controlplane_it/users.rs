//! Who is let in, with new tokens and without, while everything runs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    asking::wait_until,
    world::{Answer, STOP_WITHIN, World, directory, type_in},
};

/// Asks with this token.
fn with_token(world: &World, token: &str, words: &[&str]) -> Answer {
    let mut context: Value = serde_json::from_str(&world.file("context.json")).unwrap();
    context["identities"] = json!({ "maria": { "id": "maria", "token": token } });
    let file = world.path("maria.json");
    std::fs::write(&file, context.to_string()).unwrap();
    let mut all = vec!["--context", file.to_str().unwrap(), "--as", "maria"];
    all.extend(words);
    type_in(&all)
}

/// Services look at the file once a second.
async fn until_refused(world: &World, token: &str) {
    let refused = async {
        loop {
            let answer = with_token(world, token, &["execution", "list"]);
            if answer.code == 1 && answer.err.contains("UNAUTHENTICATED") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), refused).await;
    assert!(waited.is_ok(), "the token is still good");
}

async fn until_let_in(world: &World, token: &str) {
    let let_in = async {
        while with_token(world, token, &["execution", "list"]).code != 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), let_in).await;
    assert!(waited.is_ok(), "the token is not let in");
}

fn token_of(answer: &Value) -> String {
    answer["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn someone_is_let_in_gets_another_token_and_is_refused() {
    let world = World::up().await;
    let first = token_of(&world.ask(&["user", "add", "maria", "--role", "viewer"]));
    until_let_in(&world, &first).await;
    let submitted = with_token(&world, &first, &["intent", "submit", "Something"]);
    assert_eq!(submitted.code, 1);
    assert!(submitted.err.contains("intent.submit"), "{}", submitted.err);

    let again = world.type_in(&["user", "add", "maria", "--role", "admin"]);
    assert_eq!(again.code, 2, "{}", again.err);
    assert!(again.err.contains("user rotate"), "{}", again.err);

    // Both are good for a while, or the earlier one is refused at once.
    let second = token_of(&world.ask(&["user", "rotate", "maria"]));
    until_let_in(&world, &second).await;
    assert_eq!(with_token(&world, &first, &["execution", "list"]).code, 0);
    let third = token_of(&world.ask(&["user", "rotate", "maria", "--overlap", "0"]));
    until_refused(&world, &first).await;
    until_refused(&world, &second).await;
    until_let_in(&world, &third).await;

    let listed = world.ask(&["user", "list"]);
    let names = |value: &Value| -> Vec<String> {
        let items = value["items"].as_array().unwrap().iter();
        items
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(names(&listed).contains(&"maria".to_owned()), "{listed}");
    let shown = world.type_in(&["user", "list"]);
    assert!(shown.out.contains("viewer"), "{}", shown.out);
    assert!(!shown.out.contains(&third), "a token is shown once");
    assert!(!world.file("principals.json").contains(&third));

    world.ask(&["user", "revoke", "maria"]);
    until_refused(&world, &third).await;
    let gone = world.type_in(&["user", "revoke", "maria"]);
    assert_eq!(gone.code, 1);
    assert!(
        gone.err.contains("admin, approver, submitter"),
        "{}",
        gone.err
    );
    let unknown = world.type_in(&["user", "add", "maria", "--role", "root"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("viewer, submitter"), "{}", unknown.err);
}

/// Its roles say otherwise, and it stays an agent.
#[tokio::test]
async fn an_agent_never_votes() {
    let world = World::up().await;
    let words = [
        "user", "add", "maria", "--type", "agent", "--role", "approver",
    ];
    let token = token_of(&world.ask(&words));
    until_let_in(&world, &token).await;
    let hello = r#"{"steps":[{"id":"hello","uses":"core.echo/echo","with":{"message":"x"}}]}"#;
    let id = world.submit(&["Say hello", "--draft", hello, "--mode", "assist"]);
    wait_until(&world, &id, "execution.step.blocked").await;
    let vote = [
        "execution",
        "reject",
        &id,
        "hello",
        "--yes",
        "--reason",
        "no",
    ];
    let refused = with_token(&world, &token, &vote);
    assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
    assert!(refused.err.contains("execution.approve"), "{}", refused.err);
}

/// `up` makes its own people anew where their tokens are gone, and nobody else's.
#[tokio::test]
async fn who_was_let_in_stays_when_up_makes_its_own_tokens_anew() {
    let mut world = World::up().await;
    let token = token_of(&world.ask(&["user", "add", "maria", "--role", "viewer"]));
    world.process().term();
    assert!(world.process().wait(STOP_WITHIN).await.success());
    std::fs::remove_file(world.path("credentials.json")).unwrap();
    world.again().await;
    assert_eq!(with_token(&world, &token, &["execution", "list"]).code, 0);
    assert_eq!(world.type_in(&["execution", "list"]).code, 0);
}

/// Who asks with the context goes on asking, now and after the next start.
#[tokio::test]
async fn a_new_token_of_an_identity_is_in_the_context_too() {
    let mut world = World::up().await;
    let token = |world: &World, file: &str, at: &str| {
        let document: Value = serde_json::from_str(&world.file(file)).unwrap();
        document.pointer(at).unwrap().as_str().unwrap().to_owned()
    };
    let before = token(&world, "context.json", "/identities/submitter/token");
    let rotated = world.ask(&["user", "rotate", "submitter", "--overlap", "0"]);
    let new = token_of(&rotated);
    assert_eq!(
        token(&world, "context.json", "/identities/submitter/token"),
        new
    );
    assert_eq!(token(&world, "credentials.json", "/submitter/token"), new);
    until_refused(&world, &before).await;
    let mine = ["--as", "submitter", "execution", "list"];
    assert_eq!(world.type_in(&mine).code, 0);
    world.process().term();
    assert!(world.process().wait(STOP_WITHIN).await.success());
    world.again().await;
    assert_eq!(world.type_in(&mine).code, 0);
}

#[test]
fn looking_at_who_may_ask_waits_for_nobody() {
    let directory = directory();
    let file = directory.path().join("principals.json");
    let place = [
        "--principals",
        file.to_str().unwrap(),
        "--workspace",
        "acme",
    ];
    let typed = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(place);
        type_in(&all)
    };
    assert_eq!(typed(&["user", "list"]).code, 0);
    assert!(!file.with_extension("lock").exists(), "it only reads");
    assert_eq!(typed(&["user", "add", "maria", "--role", "viewer"]).code, 0);
    let lock = std::fs::File::options()
        .write(true)
        .open(file.with_extension("lock"));
    let lock = lock.unwrap();
    lock.lock().unwrap();
    assert_eq!(typed(&["user", "revoke", "maria"]).code, 1);
    let listed = typed(&["user", "list"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    assert!(listed.out.contains("maria"), "{}", listed.out);
}

/// Each has a password of its own, in a file whose name every file system takes.
#[test]
fn the_longest_names_have_passwords_too() {
    let directory = directory();
    let file = directory.path().join("principals.json");
    let file = file.to_str().unwrap();
    let passwords = directory.path().join("passwords");
    let workspace = "w".repeat(63);
    // They differ at their very end.
    let names = ["x", "y"].map(|end| format!("{}{end}", "@".repeat(127)));
    for name in &names {
        let added = type_in(&[
            "user",
            "add",
            name,
            "--role",
            "viewer",
            "--principals",
            file,
            "--workspace",
            &workspace,
        ]);
        assert_eq!(added.code, 0, "{}", added.err);
    }
    let config = || {
        let config = type_in(&[
            "broker-config",
            "--store",
            "s",
            "--principals",
            file,
            "--passwords",
            passwords.to_str().unwrap(),
        ]);
        assert_eq!(config.code, 0, "{}", config.err);
        config.out
    };
    let first = config();
    assert_eq!(config(), first, "the passwords are kept");
    let kept: Vec<_> = std::fs::read_dir(&passwords).unwrap().flatten().collect();
    let long: Vec<_> = kept
        .iter()
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.starts_with(&workspace))
        .collect();
    assert_eq!(long.len(), 2, "{long:?}");
    assert!(
        long.iter()
            .all(|name| name.len() < 255 && name.contains('~')),
        "{long:?}"
    );
    let revoked = type_in(&[
        "user",
        "revoke",
        &names[0],
        "--principals",
        file,
        "--workspace",
        &workspace,
    ]);
    assert!(
        long.iter().any(|name| revoked.out.contains(name)),
        "{}",
        revoked.out
    );
}
