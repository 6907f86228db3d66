//! What `up` starts is kept up, and is gone when `up` is gone, in whatever way.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::world::{STOP_WITHIN, World, command, kill9, processes_of, type_in};
use controlplane::up::directory::Directory;
use testkit::process::Process;

const HELLO: &str = r#"{"steps":[{"id":"hello","uses":"core.echo/echo","with":{}}]}"#;

#[tokio::test]
async fn stopped_it_leaves_no_process_and_started_again_it_has_the_same_keys_and_log() {
    let mut world = World::up().await;
    // Itself, the broker and five services.
    assert_eq!(world.processes().len(), 7, "{:?}", world.processes());
    let id = world.submit(&["Say hello", "--draft", HELLO]);
    assert_eq!(world.type_in(&["execution", "watch", &id]).code, 0);
    let kept = [
        "credentials.json",
        "principals.json",
        "keys/development.pem",
        "settings.json",
    ];
    let before = kept.map(|name| world.file(name));

    world.process().interrupt();
    assert!(world.process().wait(STOP_WITHIN).await.success());
    assert_eq!(world.processes(), []);
    assert!(
        !world.path("context.json").exists(),
        "its addresses are nobody's now"
    );

    world.again().await;
    assert_eq!(kept.map(|name| world.file(name)), before);
    let record = world.ask(&["execution", "get", &id]);
    assert_eq!(record["execution"]["status"], "completed");
    let said = world.process().output().join("\n");
    assert!(
        said.contains("is active"),
        "the policy is not activated again: {said}"
    );
    assert!(said.contains("every stream is there"), "{said}");

    world.process().term();
    assert!(world.process().wait(STOP_WITHIN).await.success());
    assert_eq!(world.processes(), []);
}

#[tokio::test]
async fn killed_it_leaves_no_process() {
    World::up().await.kill9().await;
}

#[tokio::test]
async fn what_dies_is_started_again_where_it_was() {
    let world = World::up().await;
    let context = world.file("context.json");
    let hello = ["intent", "submit", "Hello", "--draft", HELLO, "--watch"];
    assert_eq!(world.type_in(&hello).code, 0);

    let services = ["intake", "planner", "verifier", "executor", "projector"];
    for killed in [&services[..], &["nats-server"]] {
        for name in killed {
            kill9(world.pid_of(name));
        }
        for name in killed {
            let said = |what: &str| format!("`{name}` {what}");
            world.process().line(&said("ended (signal: 9")).await;
            world.process().line(&said("is ready again")).await;
        }
        let watched = world.type_in(&hello);
        assert_eq!(watched.code, 0, "{killed:?}: {}", watched.err);
    }
    assert_eq!(world.file("context.json"), context);
    let position = world.ask(&["intent", "submit", "Hello", "--draft", HELLO])["position"].clone();
    let position = position.as_str().unwrap();
    let listed = world.ask(&["execution", "list", "--at-least", position]);
    assert_eq!(listed["total"], 4);
    world.process().interrupt();
    assert!(world.process().wait(STOP_WITHIN).await.success());
    assert_eq!(world.processes(), []);
}

#[tokio::test]
async fn one_directory_is_for_one_process_and_for_its_owner() {
    let world = World::up().await;
    let data = world.data();
    let words = ["up", "--data", data.to_str().unwrap()];
    let second = Process::spawn(
        "second",
        command(&words),
        &world.directory.path().join("second.log"),
    );
    assert_eq!(second.wait(STOP_WITHIN).await.code(), Some(1));
    second.line("another control plane").await;
    // The first one goes on, with its context.
    world.ask(&["execution", "list"]);

    let mode = |name: &str| fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        fs::metadata(&data).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let secret = [
        "context.json",
        "credentials.json",
        "keys/development.pem",
        "broker/nats-server.conf",
        "secrets/executor.password",
    ];
    for name in secret {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert!(
        !world
            .file("principals.json")
            .contains(token(&world).as_str())
    );
    for (pid, _) in processes_of(world.directory.path()) {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let told = String::from_utf8_lossy(&[command, environment].concat()).into_owned();
        assert!(!told.contains(world.file("secrets/executor.password").trim()));
    }
}

#[tokio::test]
async fn the_broker_and_the_services_are_told_the_same_durability() {
    for (options, durability) in [(&[][..], "process"), (&["--durability", "disk"], "disk")] {
        let world = World::up_with(options).await;
        let hello = ["intent", "submit", "Hello", "--draft", HELLO, "--watch"];
        assert_eq!(world.type_in(&hello).code, 0);
        let config = world.file("broker/nats-server.conf");
        let fsyncs = config.contains("sync_interval: always");
        assert_eq!(fsyncs, durability == "disk", "{config}");
        for name in ["intake", "planner", "verifier", "executor", "projector"] {
            let environment = fs::read(format!("/proc/{}/environ", world.pid_of(name))).unwrap();
            let environment = String::from_utf8_lossy(&environment);
            let told = format!("CONTROL_PLANE_DURABILITY={durability}\0");
            assert!(environment.contains(&told), "{name}: {environment}");
        }
        world.kill9().await;
    }
}

#[test]
fn a_directory_that_holds_something_else_is_refused_and_stays_as_it_is() {
    let directory = crate::world::directory();
    let data = directory.path().join("project");
    let files = [
        "run/build.sh",
        "logs/old.log",
        ".gitignore",
        "lock",
        "settings.json",
    ];
    for name in files {
        let file = data.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "{}").unwrap();
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |mode| fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
    let up = ["up", "--data", data.to_str().unwrap()];
    for (wanted, said) in [
        (0o755, "holds what no control plane made"),
        (0o777, "chmod go-w"),
    ] {
        set(wanted);
        let refused = type_in(&up);
        assert_eq!(refused.code, 2, "{}{}", refused.out, refused.err);
        assert!(refused.err.contains(said), "{}", refused.err);
        assert!(refused.err.contains("`--data`"), "{}", refused.err);
        assert_eq!(mode(&data), wanted);
        for name in files {
            assert_eq!(fs::read_to_string(data.join(name)).unwrap(), "{}", "{name}");
        }
        assert_eq!(fs::read_dir(&data).unwrap().count(), files.len());
    }
}

#[test]
fn of_what_it_finds_in_its_own_directory_only_old_addresses_go() {
    let directory = crate::world::directory();
    let data = directory.path();
    fs::set_permissions(data, fs::Permissions::from_mode(0o755)).unwrap();
    drop(Directory::open(data).unwrap());
    let mode = fs::metadata(data).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    for name in [
        "run/intake.address",
        "run/nats-server_1.ports",
        "run/note",
        ".gitignore",
    ] {
        fs::write(data.join(name), "mine").unwrap();
    }
    // Cut off before its settings were written, it is a control plane's all the same.
    drop(Directory::open(data).unwrap());
    let left = fs::read_dir(data.join("run")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["note"]);
    assert_eq!(fs::read_to_string(data.join(".gitignore")).unwrap(), "mine");
}

#[tokio::test]
async fn what_was_fixed_at_the_first_start_stays_so() {
    let world = World::up_with(&["--streams", "4"]).await;
    world.process().interrupt();
    world.process().wait(STOP_WITHIN).await;
    let data = world.data();
    let words = ["up", "--data", data.to_str().unwrap(), "--streams", "2"];
    let other = Process::spawn(
        "other",
        command(&words),
        &world.directory.path().join("other.log"),
    );
    assert_eq!(other.wait(STOP_WITHIN).await.code(), Some(2));
    other.line("--streams 4").await;
}

#[tokio::test]
async fn what_it_says_to_type_works_where_a_name_has_spaces() {
    let directory = crate::world::directory();
    let data = directory.path().join("my data");
    let words = ["up", "--listen", "0", "--data", data.to_str().unwrap()];
    let up = Process::spawn("up", command(&words), &directory.path().join("up.log"));
    let submit = up.line("intent submit").await;
    let typed = std::process::Command::new("sh")
        .args(["-c", &submit])
        .output()
        .unwrap();
    assert!(typed.status.success(), "{submit}: {typed:?}");
    up.interrupt();
    assert!(up.wait(STOP_WITHIN).await.success());
}

fn token(world: &World) -> String {
    let credentials: serde_json::Value =
        serde_json::from_str(&world.file("credentials.json")).unwrap();
    credentials["admin"]["token"].as_str().unwrap().to_owned()
}
