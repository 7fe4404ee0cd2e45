//! A client of patchbay's control socket with nothing but the standard library, for tests of this crate.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::{io::AsRawFd, net::UnixStream};
use std::thread::{self, JoinHandle};

extern "C" {
    fn setns(fd: i32, kind: i32) -> i32;
}
const CLONE_NEWNET: i32 = 0x4000_0000;

/// A lab of its own; it ends with the connection.
pub struct Lab(BufReader<UnixStream>);

impl Lab {
    pub fn new() -> Lab {
        let path = std::env::var_os("PATCHBAY_CONTROL").expect("run this by `patchbay exec -- cargo test`");
        Lab(BufReader::new(UnixStream::connect(path).unwrap()))
    }

    /// The line that answers a request. `params` is JSON.
    pub fn ask(&mut self, method: &str, params: &str) -> Result<String, String> {
        let request = format!("{{\"id\": 1, \"method\": \"{method}\", \"params\": {params}}}\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        self.0.read_line(&mut reply).unwrap();
        if reply.contains("\"error\":") { Err(reply) } else { Ok(reply) }
    }

    /// Runs a function in a thread that is in a node's network.
    pub fn inside<T: Send + 'static>(&mut self, node: &str, code: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let reply = self.ask("netns", &format!("{{\"node\": \"{node}\"}}")).unwrap();
        let namespace = File::open(text(&reply, "path")).unwrap();
        thread::spawn(move || {
            assert_eq!(unsafe { setns(namespace.as_raw_fd(), CLONE_NEWNET) }, 0);
            code()
        })
    }
}

/// The first string of that name in a line of JSON.
pub fn text(line: &str, name: &str) -> String {
    let (_, rest) = line.split_once(&format!("\"{name}\":\"")).expect(line);
    rest.split_once('"').unwrap().0.to_owned()
}
