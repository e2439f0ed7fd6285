// TanStack's virtualizer as a hook: only what is seen is in the page, however long the log is.
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from '@tanstack/virtual-core'
import { useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks'

interface Options { keys: readonly string[]; estimate: (place: number) => number; scroller: () => HTMLElement | null; onEnd: (isAtEnd: boolean) => void }

/** So near the end, in pixels, new text is followed. */
const NEAR_END = 80

export const useVirtual = ({ keys, estimate, scroller, onEnd }: Options): Virtualizer<HTMLElement, HTMLElement> => {
  const [, rerender] = useReducer<number, void>((count) => count + 1, 0)
  const atEnd = useRef(true)
  const options = {
    count: keys.length,
    getScrollElement: scroller,
    estimateSize: estimate,
    getItemKey: (place: number) => keys[place] ?? place,
    observeElementRect,
    observeElementOffset,
    scrollToFn: elementScroll,
    overscan: 6,
    anchorTo: 'end' as const,
    followOnAppend: true,
    scrollEndThreshold: NEAR_END,
    onChange: (instance: Virtualizer<HTMLElement, HTMLElement>) => {
      const isAtEnd = instance.isAtEnd(NEAR_END)
      if (isAtEnd !== atEnd.current) onEnd((atEnd.current = isAtEnd))
      rerender()
    }
  }
  const [virtual] = useState(() => new Virtualizer<HTMLElement, HTMLElement>(options))
  virtual.setOptions(options)
  useLayoutEffect(() => virtual._didMount(), [])
  useLayoutEffect(() => virtual._willUpdate())
  return virtual
}
