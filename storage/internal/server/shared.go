package server

import "sync"

// Shared are the servers that all tests of a package use, each started when the first test needs it. The zero value has
// none yet.
type Shared struct {
	mu      sync.Mutex
	servers map[string]*shared // guarded by mu
}

type shared struct {
	start  sync.Once
	server *Server
	err    error
}

// Server returns the server of that name, which start makes the first time.
func (s *Shared) Server(name string, start func() (*Server, error)) (*Server, error) {
	s.mu.Lock()
	if s.servers == nil {
		s.servers = make(map[string]*shared)
	}
	one := s.servers[name]
	if one == nil {
		one = new(shared)
		s.servers[name] = one
	}
	s.mu.Unlock()
	one.start.Do(func() { one.server, one.err = start() })
	return one.server, one.err
}

// Stop removes all servers. No other method may run meanwhile.
func (s *Shared) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.servers {
		if one.server != nil {
			one.server.Remove()
		}
	}
}
