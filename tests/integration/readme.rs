//! Runs the README's grpcurl commands, which create everything and run a plan with reflection
//! alone.

use std::path::Path;
use std::process::Command;

use orchid_tests::{FakeUpstream, StackOptions, TestStack, UpstreamReply, environment, tools};
use serde_json::json;

/// Returns the README's shell blocks that use grpcurl, as one script.
fn script() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").join("README.md");
    let text = std::fs::read_to_string(file).expect("README.md");
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let script: String = blocks.filter(|block| block.contains("grpcurl -plaintext")).collect();
    assert!(script.contains("TriggerPlan"), "the README shows no grpcurl commands");
    script
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readme_grpcurl_commands_run_a_plan() {
    let grpcurl = tools::find("grpcurl").expect("grpcurl is not installed: `.ci/install test` brings it");
    let upstream = FakeUpstream::start(|request| {
        if request.headers.get("x-api-key").is_none_or(|key| key != "any-key") {
            return UpstreamReply::Json(401, json!({"error": "no key"}));
        }
        let page: u64 = request.query.get("cursor").map_or(0, |cursor| cursor.parse().expect("a cursor"));
        let next = (page < 2).then(|| (page + 1).to_string());
        UpstreamReply::ok(json!({"orders": [{"id": page}], "next_cursor": next}))
    })
    .await;
    let stack = TestStack::start(StackOptions::default()).await;
    // Only the addresses are replaced by this test's.
    let script = script()
        .lines()
        .map(|line| match line.split_once('=') {
            Some(("ORCHID", _)) => format!("ORCHID={}\n", stack.address(0)),
            Some(("API_KEY", _)) => "API_KEY=any-key\n".to_owned(),
            Some(("API", _)) => format!("API={}\n", upstream.url()),
            _ => format!("{line}\n"),
        })
        .collect::<String>();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(grpcurl.parent().map(Path::to_owned));
    let output = tokio::task::block_in_place(|| {
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("PATH", std::env::join_paths(folders).expect("a path"))
            .output()
            .expect("bash runs")
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("EXECUTION_STATE_SUCCEEDED"), "{said}");

    let mut reader = stack.reader();
    let pages = reader
        .until("three pages", |all| {
            all.iter().filter(|message| message.kind() == "api.response").count() == 3
        })
        .await;
    assert!(pages.iter().any(|message| message.kind() == "execution.started"));
    stack.end().await;
}

#[test]
fn help_lists_every_documented_setting() {
    let page =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").join("docs/operations.md");
    let page = std::fs::read_to_string(page).expect("docs/operations.md");
    let section = |title: &str| {
        let rest = page.split(&format!("### {title}\n")).nth(1).expect(title);
        let table = rest.split("\n#").next().unwrap_or_default();
        let names = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        names.map(|(name, _)| name.to_owned()).collect::<Vec<String>>()
    };
    let help = |program: &str, arguments: &[&str]| {
        let output =
            environment::command(environment::binary(program)).args(arguments).output().expect(program);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let control_plane = help("orchid-control-plane", &["serve", "--help"])
        + &help("orchid-control-plane", &["migrate", "--help"]);
    let executor = help("orchid-executor", &["--help"]);
    for (title, helps) in [
        ("Control plane", vec![&control_plane]),
        ("Executor", vec![&executor]),
        ("Both", vec![&control_plane, &executor]),
    ] {
        let settings = section(title);
        assert!(settings.len() >= 3, "{title}: {settings:?}");
        for (setting, help) in
            settings.iter().flat_map(|setting| helps.iter().map(move |help| (setting, help)))
        {
            assert!(help.contains(setting.as_str()), "--help does not list {setting}:\n{help}");
        }
    }
}
