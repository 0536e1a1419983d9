package storage

// As returns what a store is besides a [Store]: a [Watcher], a [Scanner], [Owners], or any other interface. It looks
// through wrappers, which have a method Unwrap() Store: the first that is a T, from outside in, is it. A wrapper that
// changes keys or values has to be a T itself for what it wraps to be one.
func As[T any](s Store) (T, bool) {
	for s != nil {
		if found, ok := s.(T); ok {
			return found, true
		}
		wrapper, ok := s.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		s = wrapper.Unwrap()
	}
	var none T
	return none, false
}
