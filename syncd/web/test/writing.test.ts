import * as Y from 'yjs'
import { describe, expect, it } from 'vitest'
import { HybridClock } from '../src/core/clock'
import { Conversation } from '../src/core/conversation'
import { newId } from '../src/core/ids'
import { CantWrite, Writer } from '../src/core/writing'
import type { Target } from '../src/core/run'

const TARGET: Target = { adapter: 'llamacpp', model: null, endpoint: null, params: {} }

const device = (name = 'web-1', update?: Uint8Array): { conversation: Conversation; writer: Writer; counted: number[] } => {
  const conversation = new Conversation('c')
  if (update) Y.applyUpdate(conversation.doc, update)
  const counted: number[] = []
  const writer = new Writer(conversation, () => ({ kind: 'human', device: name, name }), (weight) => counted.push(weight))
  return { conversation, writer, counted }
}

const exchange = (a: Conversation, b: Conversation): void => {
  Y.applyUpdate(b.doc, Y.encodeStateAsUpdate(a.doc, Y.encodeStateVector(b.doc)))
  Y.applyUpdate(a.doc, Y.encodeStateAsUpdate(b.doc, Y.encodeStateVector(a.doc)))
}

const texts = (conversation: Conversation, branch = 'main'): string[] =>
  conversation.log(branch).map((id) => String(conversation.peek(id)!.parts[0]?.content.text ?? conversation.peek(id)!.role))

describe('writing with no network', () => {
  it('joins what two devices wrote apart with the next message', () => {
    const [a, b] = [device('a'), device('b')]
    a.writer.append({ text: 'begin' })
    exchange(a.conversation, b.conversation)
    a.writer.append({ text: 'from a' })
    b.writer.append({ text: 'from b' })
    exchange(a.conversation, b.conversation)
    expect(a.conversation.heads()).toHaveLength(2)
    expect(texts(a.conversation)).toEqual(texts(b.conversation))
    b.writer.append({ text: 'together' })
    exchange(a.conversation, b.conversation)
    expect(a.conversation.heads()).toHaveLength(1)
    expect(new Set(texts(a.conversation))).toEqual(new Set(['begin', 'from a', 'from b', 'together']))
    expect(a.conversation.digest(a.conversation.log())).toBe(b.conversation.digest(b.conversation.log()))
  })

  it('makes one message of a merge that two devices make', () => {
    const a = device('a')
    const at = a.writer.append({ text: 'begin' })
    a.writer.fork('plan', at)
    a.writer.append({ text: 'on plan', branch: 'plan' })
    a.writer.append({ text: 'on main' })
    const b = device('b', Y.encodeStateAsUpdate(a.conversation.doc))
    expect(a.writer.merge('plan')).toBe(b.writer.merge('plan'))
    exchange(a.conversation, b.conversation)
    expect(a.conversation.graph.placed.size).toBe(4)
    expect(a.writer.merge('plan')).toBeNull()
  })

  it('forks where a message is edited, and leaves what was there', () => {
    const { conversation, writer } = device()
    const first = writer.append({ text: 'one' })
    const { branch } = writer.edit(first, { text: 'two' })
    expect(branch).toBe('main-2')
    expect(texts(conversation)).toEqual(['one'])
    expect(texts(conversation, branch)).toEqual(['two'])
    expect(conversation.graph.versions(first)).toHaveLength(2)
    expect(writer.edit(first, { text: 'three' }).branch).toBe('main-3')
  })

  it('chooses among alternatives, and forks where one was continued', () => {
    const { conversation, writer } = device()
    const question = writer.append({ text: 'q' })
    const [x, y] = ['x', 'y'].map((text) => writer.append({ role: 'assistant', text, parents: [question] }))
    expect(conversation.heads()).toEqual([x])
    expect(writer.choose(y!)).toBe('main')
    expect(conversation.heads()).toEqual([y])
    writer.append({ text: 'on' })
    expect(writer.choose(x!)).toBe('main-2')
    expect(texts(conversation, 'main-2')).toEqual(['q', 'x'])
    expect(texts(conversation)).toEqual(['q', 'y', 'on'])
  })

  it('asks in one update, and counts it as one', () => {
    const { conversation, writer, counted } = device()
    let updates = 0
    conversation.doc.on('update', () => updates++)
    writer.together(() => {
      writer.rename('Trip')
      writer.ask({ text: 'Where?' }, TARGET)
    })
    expect([updates, counted]).toEqual([1, [1]])
    expect(conversation.runs.value).toMatchObject([{ state: 'requested', requestedBy: 'web-1', branch: 'main', target: TARGET }])
    expect(conversation.runs.value[0]!.parents).toEqual(conversation.log())
  })

  it('answers a call that waits, and no more than once', () => {
    const { conversation, writer } = device()
    const { run } = writer.ask({ text: 'q' }, TARGET)
    const entry = conversation.doc.getMap('runs').get(run) as Y.Map<unknown>
    entry.set('call:m:p', { message: 'm', part: 'p', state: 'pending', epoch: 1 })
    expect(conversation.runs.value[0]!.calls).toMatchObject([{ key: 'm:p', approved: null }])
    writer.approve(conversation.runs.value[0]!, 'm:p', false)
    expect(conversation.runs.value[0]!.calls).toMatchObject([{ key: 'm:p', approved: false }])
    expect(entry.get('approval:m:p')).toMatchObject({ approved: false, by: 'web-1' })
  })

  it('changes of a draft only what is different, and never cuts a character in two', () => {
    const [a, b] = [device('a'), device('b')]
    a.writer.setDraft('a', 'x \u{1F30D} y')
    exchange(a.conversation, b.conversation)
    a.writer.setDraft('a', 'x \u{1F30E} y')
    b.writer.setDraft('a', 'x \u{1F30D} y, and z')
    exchange(a.conversation, b.conversation)
    expect(a.conversation.drafts.value.get('a')).toBe('x \u{1F30E} y, and z')
    expect(a.counted).toEqual([])
  })

  it('refuses names that no branch can have', () => {
    const { writer } = device()
    const at = writer.append({ text: 'x' })
    for (const name of ['', 'x'.repeat(201), 'a\nb', 'a\u0000b']) expect(() => writer.fork(name, at)).toThrow(CantWrite)
    writer.fork('a b', at)
    expect(() => writer.fork('a b', at)).toThrow(CantWrite)
  })

  it('replaces half a surrogate pair, which UTF-8 can’t carry', () => {
    const { conversation, writer } = device()
    const id = writer.append({ text: 'a\uD83C b \u{1F30D}' })
    expect(conversation.peek(id)!.parts[0]!.content.text).toBe('a\uFFFD b \u{1F30D}')
  })
})

describe('reading', () => {
  it('tells of a message that streams without touching the graph', () => {
    const { conversation, writer } = device()
    writer.append({ text: 'q' })
    const id = writer.append({ role: 'assistant', text: '' })
    const before = conversation.structure.value
    const entry = conversation.messages.get(id) as Y.Map<unknown>
    const text = ((entry.get('parts') as Y.Array<Y.Map<unknown>>).get(0).get('text')) as Y.Text
    const seen: string[] = []
    conversation.message(id).subscribe((message) => seen.push(String(message!.parts[0]!.content.text)))
    for (const piece of ['To ', 'the sea']) text.insert(text.length, piece)
    expect(seen).toEqual(['', 'To ', 'To the sea'])
    expect(conversation.structure.value).toBe(before)
    entry.set('status', 'failed')
    expect(conversation.structure.value).toBe(before + 1)
  })

  it('sets aside what is no message, and reads on', () => {
    const { conversation, writer } = device()
    const id = writer.append({ text: 'q' })
    conversation.messages.set('odd', { role: 7 })
    conversation.messages.set('orphan', new Y.Map(Object.entries({ role: 'user', parents: ['nowhere'] })))
    let deep: Y.Map<unknown> = new Y.Map()
    const top = deep
    for (let level = 0; level < 300; level++) {
      const next = new Y.Map<unknown>()
      deep.set('in', next)
      deep = next
    }
    conversation.messages.set('deep', top)
    expect(conversation.log()).toEqual([id])
    expect([...conversation.malformed.keys()].sort()).toEqual(['deep', 'odd'])
    expect(conversation.graph.waiting.map((node) => node.id)).toEqual(['orphan'])
    conversation.messages.set('nowhere', new Y.Map(Object.entries({ role: 'user', parents: [] })))
    expect(conversation.graph.waiting).toEqual([])
  })

  it('is never behind a clock that it has seen', () => {
    const clock = new HybridClock(() => 5)
    clock.see(10)
    expect([clock.next(), clock.next()]).toEqual([11, 12])
    expect(newId(0) < newId(1)).toBe(true)
    expect(newId(2 ** 60)).toHaveLength(26)
  })

  it('reads a long conversation, and one more message', () => {
    const { conversation, writer } = device()
    let parents: string[] = []
    for (let count = 0; count < 2_000; count++) parents = [writer.append({ text: `message ${count}`, parents })]
    const other = device('b', Y.encodeStateAsUpdate(conversation.doc))
    expect(other.conversation.log()).toHaveLength(2_000)
    other.writer.append({ text: 'one more' })
    expect(other.conversation.log()).toHaveLength(2_001)
  }, 30_000)
})
