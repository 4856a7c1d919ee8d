package ipam

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// minRange is the length of the smallest range a host can have: the gateway and five containers.
const minRange = 29

// space is the free part of a network as a buddy allocator: for each prefix length the free aligned blocks, lowest first.
type space [minRange + 1][]netip.Prefix

// newSpace returns what is free in network beside the used ranges.
func newSpace(network netip.Prefix, used []netip.Prefix) *space {
	var s space
	s.addFree(network, slices.SortedFunc(slices.Values(used), comparePrefix))
	return &s
}

// addFree adds the free blocks of block, given the used ranges that may overlap it, sorted.
func (s *space) addFree(block netip.Prefix, used []netip.Prefix) {
	if len(used) == 0 {
		s[block.Bits()] = append(s[block.Bits()], block)
		return
	}
	if used[0].Bits() <= block.Bits() || block.Bits() == minRange {
		return
	}
	low, high := halves(block)
	split, _ := slices.BinarySearchFunc(used, high, comparePrefix)
	s.addFree(low, used[:split])
	s.addFree(high, used[split:])
}

// largest is the prefix length of the largest free block.
func (s *space) largest() (bits int, ok bool) {
	for bits := range s {
		if len(s[bits]) > 0 {
			return bits, true
		}
	}
	return 0, false
}

// share is the prefix length of the largest range of which n fit into what is free, alignment aside.
func (s *space) share(n int) int {
	free := 0
	for length, blocks := range s {
		free += len(blocks) << (32 - length)
	}
	return 32 - (bits.Len(uint(max(free/max(n, 1), 1))) - 1)
}

// take removes a block of the given length from the smallest free block that has one, at its low end. The levels between are
// empty, so what splitting leaves keeps every level sorted.
func (s *space) take(bits int) (netip.Prefix, bool) {
	from := bits
	for from >= 0 && len(s[from]) == 0 {
		from--
	}
	if from < 0 {
		return netip.Prefix{}, false
	}
	block := s[from][0]
	s[from] = s[from][1:]
	for block.Bits() < bits {
		low, high := halves(block)
		s[high.Bits()] = append(s[high.Bits()], high)
		block = low
	}
	return block, true
}

func halves(block netip.Prefix) (low, high netip.Prefix) {
	bits := block.Bits() + 1
	a := block.Addr().As4()
	n := binary.BigEndian.Uint32(a[:]) | 1<<(32-bits)
	binary.BigEndian.PutUint32(a[:], n)
	return netip.PrefixFrom(block.Addr(), bits), netip.PrefixFrom(netip.AddrFrom4(a), bits)
}

// comparePrefix orders by address, larger ranges first.
func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}
