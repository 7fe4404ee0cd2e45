// Package nat tests a home's NAT with nothing but the standard library: patchbay exec -- go test
package nat

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Lab is a lab of its own; it ends with the connection.
type Lab struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

type params map[string]any

func newLab(t *testing.T) *Lab {
	conn, err := net.Dial("unix", os.Getenv("PATCHBAY_CONTROL"))
	if err != nil {
		t.Fatal("run this by `patchbay exec -- go test`: ", err)
	}
	t.Cleanup(func() { conn.Close() })
	return &Lab{t, conn, bufio.NewReader(conn)}
}

func (lab *Lab) ask(method string, params params) (params, error) {
	request, _ := json.Marshal(map[string]any{"id": 1, "method": method, "params": params})
	if _, err := lab.conn.Write(append(request, '\n')); err != nil {
		lab.t.Fatal(err)
	}
	line, err := lab.in.ReadBytes('\n')
	if err != nil {
		lab.t.Fatal(err)
	}
	var reply struct {
		Result map[string]any
		Error  *struct{ Kind, Message string }
	}
	if err := json.Unmarshal(line, &reply); err != nil {
		lab.t.Fatal(err)
	}
	if reply.Error != nil {
		return nil, fmt.Errorf("%s: %s", reply.Error.Kind, reply.Error.Message)
	}
	return reply.Result, nil
}

func (lab *Lab) must(method string, params params) params {
	lab.t.Helper()
	result, err := lab.ask(method, params)
	if err != nil {
		lab.t.Fatal(err)
	}
	return result
}

var setns = map[string]uintptr{"amd64": 308, "arm64": 268}[runtime.GOARCH]

// inside runs a function on a thread that is in a node's network; the thread ends with it.
func (lab *Lab) inside(node string, code func()) <-chan struct{} {
	path := lab.must("netns", params{"node": node})["path"].(string)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		namespace, err := os.Open(path)
		if err != nil {
			panic(err)
		}
		defer namespace.Close()
		if _, _, errno := syscall.RawSyscall(setns, namespace.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
			panic(errno)
		}
		code()
	}()
	return done
}

func seenBehind(t *testing.T, nat string) (seen, router string) {
	lab := newLab(t)
	lab.must("add_router", params{"name": "dc"})
	router = lab.must("add_router", params{"name": "home", "nat": nat})["ip"].(string)
	server := lab.must("add_device", params{"name": "server", "router": "dc"})
	lab.must("add_device", params{"name": "laptop", "router": "home"})

	var listener net.Listener
	<-lab.inside("server", func() { listener, _ = net.Listen("tcp4", ":7") })
	defer listener.Close()
	<-lab.inside("laptop", func() {
		conn, err := net.Dial("tcp4", server["ip"].(string)+":7")
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	})
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.RemoteAddr().(*net.TCPAddr).IP.String(), router
}

func TestAHomeRouterShowsItsOwnAddress(t *testing.T) {
	t.Parallel()
	if seen, router := seenBehind(t, "home"); seen != router {
		t.Errorf("the server saw %s, the router is %s", seen, router)
	}
}

func TestARouterWithoutNATShowsTheLaptops(t *testing.T) {
	t.Parallel()
	if seen, router := seenBehind(t, "none"); seen == router {
		t.Errorf("the server saw the router, %s", seen)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	_, err := newLab(t).ask("add_router", params{"name": "home", "nat": "hme"})
	if err == nil || !strings.Contains(err.Error(), `did you mean "home"`) {
		t.Error(err)
	}
}
