package main

import (
	"crypto/tls"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/everseal/everseal/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// Clients call the server with the certificate that the CA has issued by tls-alpn-01 on the same port, and those who watch its
// health are told of its end before it comes.
func TestServer(t *testing.T) {
	address := program.Address(t)
	ca, trust, flags := program.StartCA(t, address)
	server := program.Start(t, []string{trust}, append(flags, "-listen", address, "localhost")...)
	server.Line("certificate obtained")

	conn, err := grpc.NewClient("dns:///localhost"+address[strings.LastIndex(address, ":"):],
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: ca.Roots()})), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	watch, err := grpc_health_v1.NewHealthClient(conn).Watch(t.Context(), new(grpc_health_v1.HealthCheckRequest))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, watch, grpc_health_v1.HealthCheckResponse_SERVING)
	if got, want := services(t, conn), "grpc.health.v1.Health"; !slices.Contains(got, want) {
		t.Errorf("the services are %q, want %s among them", got, want)
	}

	old, err := tls.Dial("tcp", address, &tls.Config{RootCAs: ca.Roots(), ServerName: "localhost", NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if sent, err := io.ReadAll(old); len(sent) > 0 || err != nil {
		t.Errorf("a client of HTTP/1.1 was sent %q (%v), not turned away", sent, err)
	}

	server.Signal(syscall.SIGTERM)
	expect(t, watch, grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	if err := watch.CloseSend(); err != nil {
		t.Error(err)
	}
	conn.Close() // which ends the call that was under way
	if status, said := server.End(); status != 0 {
		t.Errorf("the status is %d:\n%s", status, said)
	}
}

// expect waits for the next state.
func expect(t *testing.T, watch grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse], want grpc_health_v1.HealthCheckResponse_ServingStatus) {
	t.Helper()
	state, err := watch.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if state.Status != want {
		t.Errorf("the server is %v, want %v", state.Status, want)
	}
}

// services returns the names of those that the server says it has.
func services(t *testing.T, conn *grpc.ClientConn) (names []string) {
	t.Helper()
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err == nil {
		err = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: new(grpc_reflection_v1.ServerReflectionRequest_ListServices)})
	}
	if err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range answer.GetListServicesResponse().GetService() {
		names = append(names, service.Name)
	}
	return names
}
