//! A listener that greets as a nats-server of any version and then only answers pings.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub struct StubServer {
    port: u16,
    task: JoinHandle<()>,
}

impl StubServer {
    pub async fn announcing(version: &str) -> Self {
        let listener = match TcpListener::bind("127.0.0.1:0").await {
            Ok(listener) => listener,
            Err(error) => panic!("cannot listen: {error}"),
        };
        let port = match listener.local_addr() {
            Ok(address) => address.port(),
            Err(error) => panic!("cannot listen: {error}"),
        };
        let info = format!(
            "INFO {{\"server_id\":\"STUB\",\"server_name\":\"stub\",\"version\":\"{version}\",\
             \"go\":\"\",\"host\":\"127.0.0.1\",\"port\":{port},\"headers\":true,\
             \"max_payload\":1048576,\"proto\":1,\"client_id\":1}}\r\n"
        );
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A client that hangs up early is the test's business.
                let _ = serve(client, &info).await;
            }
        });
        Self { port, task }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for StubServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(client: TcpStream, info: &str) -> std::io::Result<()> {
    let (reader, mut writer) = client.into_split();
    writer.write_all(info.as_bytes()).await?;
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        if line.starts_with("PING") {
            writer.write_all(b"PONG\r\n").await?;
        }
    }
    Ok(())
}
