package acmetest

import (
	"maps"
	"slices"
	"time"
)

// A Profile is a kind of certificates (draft-ietf-acme-profiles).
type Profile struct {
	Description string        // for people, as the directory shows it
	Lifetime    time.Duration // zero: that of the server
}

// profileDescriptions returns the profiles as the directory has them.
func (s *Server) profileDescriptions() map[string]string {
	descriptions := make(map[string]string, len(s.Profiles))
	for name, profile := range s.Profiles {
		descriptions[name] = profile.Description
	}
	return descriptions
}

// checkProfile returns the profile's name, empty if none is asked for. The error is an invalidProfile
// problem.
func (s *Server) checkProfile(asked *string) (string, error) {
	if asked == nil {
		return "", nil
	}
	if _, ok := s.Profiles[*asked]; !ok {
		return "", problemf(invalidProfile, "there is no profile %s; there are %q", quote(*asked), slices.Sorted(maps.Keys(s.Profiles)))
	}
	return *asked, nil
}

// lifetime returns how long certificates of the profile last, which may be empty.
func (s *Server) lifetime(profile string) time.Duration {
	for _, lifetime := range []time.Duration{s.Profiles[profile].Lifetime, s.Lifetime} {
		if lifetime > 0 {
			return lifetime
		}
	}
	return 90 * 24 * time.Hour
}
