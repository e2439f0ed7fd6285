// Where a person writes: text, files, send or stop.
import { signal } from '@preact/signals'
import type { JSX } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { isReply } from '../core/message'
import { areSent, askWhenSent, attach, isPicture, type Attachment } from '../net/attachments'
import { device } from '../net/identity'
import { link, type OpenConversation } from '../net/session'
import { bytes, IconButton } from './controls'
import { dialog } from './dialogs'
import { Icon } from './icons'
import { modelName } from './message'
import { attempt, notify } from './notices'
import { activeRuns, askForAnswer, current, destination, isTyping, send, stop, target, targetOf, view } from './state'

/** Files that wait to be sent, by conversation. */
const attached = signal<ReadonlyMap<string, readonly Attachment[]>>(new Map())

const DRAFT_MS = 600

export const attachFiles = (one: OpenConversation, files: Iterable<File>): void => {
  for (const file of files) {
    void attempt(async () => {
      const added = await attach(file, one.id)
      attached.value = new Map(attached.peek()).set(one.id, [...(attached.peek().get(one.id) ?? []), added])
    })
  }
}

const without = (conversation: string): Map<string, readonly Attachment[]> => {
  const left = new Map(attached.peek())
  left.delete(conversation)
  return left
}

export const Composer = ({ one }: { one: OpenConversation }): JSX.Element => {
  const field = useRef<HTMLTextAreaElement>(null)
  const picker = useRef<HTMLInputElement>(null)
  const [text, setText] = useState('')
  const sending = useRef(Promise.resolve())
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const files = attached.value.get(one.id) ?? []
  const { conversation, writer } = one
  const isLoaded = one.isLoaded.value
  const isRunning = activeRuns.value.length > 0
  const last = view.value.log.at(-1)
  const isUnanswered = last !== undefined && !isRunning && !isReply(conversation.graph.get(last))

  // What was being written here before is there again, once it is read.
  useEffect(() => {
    // Who was quicker than the disk goes on with what is written now.
    setText((now) => now || (conversation.drafts.peek().get(device.peek()) ?? ''))
  }, [one, isLoaded])
  useEffect(() => {
    if (matchMedia('(pointer: fine)').matches) field.current?.focus()
    return () => { isTyping.value = false }
  }, [one])

  useLayoutEffect(() => {
    const area = field.current
    if (!area) return
    area.style.height = 'auto'
    area.style.height = `${Math.min(area.scrollHeight, innerHeight * 0.4)}px`
  }, [text])

  const keepDraft = (value: string): void => {
    clearTimeout(timer.current)
    timer.current = setTimeout(() => {
      isTyping.value = false
      writer.setDraft(device.peek(), value)
    }, DRAFT_MS)
  }
  const write = (value: string): void => {
    setText(value)
    isTyping.value = Boolean(value)
    keepDraft(value)
  }
  const submit = (answer: boolean): void => {
    if (!text.trim() && !files.length) {
      if (answer && isUnanswered) void attempt(askForAnswer)
      return
    }
    // At once: what is written from now on is another message.
    const said = text
    const into = destination()
    setText('')
    attached.value = without(one.id)
    // One after another, so that the second has the first as its parent.
    sending.current = sending.current.then(async () => {
      let isSent = false
      await attempt(async () => {
        await one.readable()
        const isWhole = areSent(files.map((file) => file.sha256))
        const { message, branch } = send(current.peek() === one ? destination() : into, said.trim(), files, { answer: answer && isWhole })
        isSent = true
        if (answer && !isWhole) {
          askWhenSent({ conversation: one.id, branch, parents: [message], target: targetOf(one), digests: files.map((file) => file.sha256) })
          notify('The answer is asked for as soon as the daemon has the files.')
        }
      })
      if (!isSent) {
        setText((now) => now || said)
        // Also where nobody looks any more.
        writer.setDraft(device.peek(), said)
        attached.value = new Map(attached.peek()).set(one.id, [...files, ...(attached.peek().get(one.id) ?? [])])
      }
      const written = field.current?.value ?? ''
      if (written) return keepDraft(written)
      clearTimeout(timer.current)
      if (isSent) writer.setDraft(device.peek(), '')
      isTyping.value = false
    })
  }
  const chosen = target.value
  const model = modelName(chosen.model ?? '') || chosen.adapter
  const elsewhere = [...conversation.drafts.value].filter(([from, draft]) => from !== device.value && draft.trim())
  const mayWrite = one.mayWrite.value && !one.isDeleted.value
  return (
    <form class="composer" aria-label="Write a message" onSubmit={(event) => { event.preventDefault(); submit(true) }}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => { event.preventDefault(); attachFiles(one, event.dataTransfer?.files ?? []) }}
    >
      {elsewhere.length > 0 && !text && (
        <div class="elsewhere">
          {elsewhere.slice(0, 2).map(([from, draft]) => (
            <button key={from} type="button" class="quiet" onClick={() => { write(draft); writer.setDraft(from, ''); field.current?.focus() }}>
              Go on with “<bdi>{draft.slice(0, 40)}{draft.length > 40 ? '…' : ''}</bdi>” from another device
            </button>
          ))}
        </div>
      )}
      {files.length > 0 && (
        <ul class="files" aria-label="Attached files">
          {files.map((file) => (
            <li key={file.sha256}><Icon name={isPicture(file.mime) ? 'inspect' : 'file'} /><span class="name" dir="auto">{file.name}</span><span class="size">{bytes(file.size)}</span>
              <IconButton icon="close" size={12} label={`Remove ${file.name}`} onClick={() => { attached.value = new Map(attached.peek()).set(one.id, files.filter((other) => other !== file)) }} />
            </li>
          ))}
        </ul>
      )}
      <textarea
        id="composer" ref={field} rows={1} aria-label="Message" aria-keyshortcuts="m" dir="auto" value={text} disabled={!mayWrite}
        placeholder={mayWrite ? 'Write a message' : 'This token may only read this conversation'}
        onInput={(event) => write(event.currentTarget.value)}
        onPaste={(event) => { if (event.clipboardData?.files.length) { event.preventDefault(); attachFiles(one, event.clipboardData.files) } }}
        onKeyDown={(event) => {
          if (event.isComposing) return
          if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); submit(!(event.ctrlKey || event.metaKey)) }
          if (event.key === 'Escape') { event.preventDefault(); if (isRunning) void attempt(stop); else event.currentTarget.blur() }
          if (event.key === 'ArrowUp' && !text) editLast(event)
        }}
      />
      <div class="bar">
        <input ref={picker} type="file" multiple hidden tabIndex={-1} onChange={(event) => { attachFiles(one, event.currentTarget.files ?? []); event.currentTarget.value = '' }} />
        <IconButton icon="attach" label="Attach files" disabled={!mayWrite} onClick={() => picker.current?.click()} />
        <button type="button" class="quiet model" aria-label={`Model: ${model}`} onClick={() => { dialog.value = 'model' }}><bdi>{model}</bdi><Icon name="down" size={12} /></button>
        <span class="spring" />
        {isRunning
          ? <button type="button" class="round is-stop" aria-label="Stop" title="Stop (Esc)" onClick={() => void attempt(stop)}><Icon name="stop" /></button>
          : null}
        {(!isRunning || text.trim()) && (
          <button type="submit" class="round" aria-label={!text.trim() && !files.length && isUnanswered ? 'Ask for an answer' : 'Send'} title={link.value === 'online' ? 'Send (Enter)' : 'Send: it waits here until the daemon is back'} disabled={!mayWrite || (!text.trim() && !files.length && !isUnanswered)}><Icon name="send" /></button>
        )}
      </div>
    </form>
  )
}

const editLast = (event: Event): void => {
  const mine = [...document.querySelectorAll<HTMLElement>('.message.is-user')].at(-1)
  const button = mine?.querySelector<HTMLElement>('[aria-label=Edit]')
  if (!button) return
  event.preventDefault()
  button.click()
}
