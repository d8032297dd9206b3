//! json-server: a third-party HTTP API over rows that a test supplies.
//!
//! `.ci/install test` installs it. If it or Node.js is missing, the test fails instead of being
//! skipped.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use orchid_kit::servers::{ChildCommand, ChildProcess, free_port};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::environment::run_folder;
use crate::eventually::{eventually, holds, log_length};
use crate::tools;

/// The file that pins the version; the hash of its content names the program's folder.
const PACKAGE: &str = include_str!("../servers/json-server/package.json");

/// A running json-server; killed when dropped.
pub struct JsonServer {
    port: u16,
    _process: ChildProcess,
}

impl JsonServer {
    /// Serves every member of `database`, a list, under its name.
    pub async fn start(database: &Value) -> JsonServer {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let node = tools::find("node").expect("Node.js is not installed: run `.ci/install test`");
        let program = program();
        assert!(program.is_file(), "{} is missing: run `.ci/install test`", program.display());
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = run_folder().join(format!("json-server-{number}"));
        fs::create_dir_all(&folder).expect("a folder for json-server");
        fs::write(folder.join("db.json"), database.to_string()).expect("its rows");
        let log_file = folder.join("json-server.log");
        let port = free_port().expect("a port");
        let mut process = ChildCommand::new(node)
            .args([program])
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "db.json"])
            .current_dir(&folder)
            .log(File::create(&log_file).expect("a log"))
            .spawn()
            .expect("node starts");
        eventually("json-server serves", async || {
            if let Some(status) = process.exit_status() {
                let said = fs::read_to_string(&log_file).unwrap_or_default();
                panic!("json-server ended ({status}) before it served:\n{said}");
            }
            holds(serves(port).await.unwrap_or(false), log_length(&log_file))
        })
        .await;
        JsonServer { port, _process: process }
    }

    /// Returns the base URL, `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn program() -> PathBuf {
    tools::server_folder("json-server", PACKAGE).join("node_modules/json-server/lib/cli/bin.js")
}

async fn serves(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /db HTTP/1.0\r\n\r\n").await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(status.ends_with(b" 200"))
}
