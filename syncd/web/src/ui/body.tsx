// What a message says: its parts, each after its kind.
import type { JSX } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { isRaw } from '../core/fields'
import { textOfPart, type Message, type Part } from '../core/message'
import { isPicture, urlOf } from '../net/attachments'
import { bytes } from './controls'
import { Icon } from './icons'
import { blocks } from './markdown'
import { attempt, notify } from './notices'

const LONGEST = 200_000

export const Body = ({ message, conversation }: { message: Message; conversation: string }): JSX.Element => {
  const isStreaming = message.status === 'streaming'
  const last = message.parts.length - 1
  return (
    <>
      {message.parts.map((part, place) => <PartView key={part.id || place} part={part} conversation={conversation} isGrowing={isStreaming && place === last} />)}
      {isStreaming && !message.parts.length && <p class="waiting"><Dots /></p>}
    </>
  )
}

export const Dots = (): JSX.Element => <span class="dots" aria-hidden="true"><i /><i /><i /></span>

const PartView = ({ part, conversation, isGrowing }: { part: Part; conversation: string; isGrowing: boolean }): JSX.Element | null => {
  switch (part.type) {
    case 'text': return <Prose text={textOfPart(part)} isGrowing={isGrowing} />
    case 'summary': return <Folded label="Summary of what came before" text={textOfPart(part)} icon="file" />
    case 'reasoning': return <Folded label={isGrowing ? 'Thinking…' : 'Thoughts'} text={textOfPart(part)} icon="thought" />
    case 'tool_call': return <ToolCall part={part} />
    case 'tool_result': return <ToolResult part={part} />
    case 'media': return <Media part={part} conversation={conversation} />
    case 'tools': return <Folded label={toolsLabel(part)} text={pretty(part.content.tools ?? part.content)} icon="tool" isCode />
    case 'opaque': return null
    default: return <Folded label={`Something of the kind “${part.type.slice(0, 40)}”`} text={pretty(part.content)} icon="file" isCode />
  }
}

export const Prose = ({ text, isGrowing = false }: { text: string; isGrowing?: boolean }): JSX.Element => {
  const [isWhole, setWhole] = useState(false)
  const shown = isWhole || text.length <= LONGEST ? text : text.slice(0, LONGEST)
  const parsed = useMemo(() => blocks(shown), [shown])
  return (
    <div class={`prose ${isGrowing ? 'is-growing' : ''}`} dir="auto">
      {parsed.map((block, place) => block.kind === 'code'
        ? <Code key={place} text={block.text} language={block.language} />
        : <Html key={place} html={block.html} />)}
      {shown !== text && <button type="button" class="quiet" onClick={() => setWhole(true)}>Show all {bytes(text.length)}</button>}
    </div>
  )
}

// The text went through the sanitizer: see `markdown.ts`, the only source of this.
const Html = ({ html }: { html: string }): JSX.Element => useMemo(() => <div class="block" dangerouslySetInnerHTML={{ __html: html }} />, [html])

export const copy = (text: string): void => void attempt(async () => {
  // Browsers have none on a page that came unencrypted from another machine.
  if (!navigator.clipboard) throw new Error('This browser lets a page copy on localhost and over TLS only: select the text, and copy it by hand.')
  await navigator.clipboard.writeText(text)
  notify('Copied.')
})

export const Code = ({ text, language }: { text: string; language: string }): JSX.Element => (
  <figure class="code">
    <figcaption><span>{language.slice(0, 30)}</span><button type="button" class="quiet" aria-label={`Copy code${language ? `, ${language.slice(0, 30)}` : ''}`} onClick={() => copy(text)}>Copy</button></figcaption>
    <pre tabIndex={0} aria-label="Code"><code>{text}</code></pre>
  </figure>
)

const Folded = ({ label, text, icon, isCode = false }: { label: string; text: string; icon: 'thought' | 'tool' | 'file'; isCode?: boolean }): JSX.Element => {
  const [isOpen, setOpen] = useState(false)
  return (
    <details class="folded" open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary><Icon name={icon} />{label}</summary>
      {isOpen && (isCode ? <pre tabIndex={0}>{text}</pre> : <Prose text={text} />)}
    </details>
  )
}

const ToolCall = ({ part }: { part: Part }): JSX.Element => (
  <details class="folded is-call">
    <summary><Icon name="tool" />Calls <code>{name(part)}</code> <span class="brief">{brief(part.content.arguments)}</span></summary>
    <pre tabIndex={0}>{prettyText(part.content.arguments)}</pre>
  </details>
)

const ToolResult = ({ part }: { part: Part }): JSX.Element => {
  const text = typeof part.content.content === 'string' ? part.content.content : pretty(part.content.content ?? part.content)
  return (
    <details class={`folded is-result ${part.content.is_error ? 'is-error' : ''}`}>
      <summary><Icon name={part.content.is_error ? 'close' : 'check'} />{part.content.is_error ? 'Failed' : 'Result'} <span class="brief">{brief(text)}</span></summary>
      <pre tabIndex={0}>{prettyText(text)}</pre>
    </details>
  )
}

const Media = ({ part, conversation }: { part: Part; conversation: string }): JSX.Element => {
  const { sha256, mime, name: given, size } = part.content
  const digest = typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256) ? sha256 : ''
  const type = typeof mime === 'string' ? mime : ''
  const label = typeof given === 'string' && given ? given : 'attachment'
  const [url, setUrl] = useState<string | null>(null)
  useEffect(() => {
    if (digest && isPicture(type)) urlOf(digest, type, conversation).then(setUrl, () => {})
  }, [digest, type])
  const save = (): void => void attempt(async () => {
    if (!digest) throw new Error('This attachment has no bytes on the daemon.')
    const link = document.createElement('a')
    link.href = await urlOf(digest, type, conversation)
    link.download = label
    link.click()
  })
  return (
    <figure class="media">
      {url && <img src={url} alt={label} loading="lazy" />}
      <button type="button" class="file" onClick={save} aria-label={`Save ${label}`}>
        <Icon name="file" /><span class="name" dir="auto">{label}</span>
      </button>
      {typeof size === 'number' && <span class="size">{bytes(size)}</span>}
    </figure>
  )
}

const name = (part: Part): string => (typeof part.content.name === 'string' ? part.content.name : 'a tool')

const toolsLabel = (part: Part): string => (Array.isArray(part.content.tools) ? `${part.content.tools.length} tools are offered` : 'Tools are offered')

const brief = (value: unknown): string => (typeof value === 'string' ? value.replace(/\s+/g, ' ').slice(0, 80) : '')

const prettyText = (value: unknown): string => {
  if (typeof value !== 'string') return pretty(value)
  try {
    return pretty(JSON.parse(value))
  } catch {
    return value
  }
}

export const pretty = (value: unknown): string => {
  if (typeof value === 'string') return value
  return JSON.stringify(value, (_, item: unknown) => {
    if (item instanceof Uint8Array) return `${item.length} bytes: ${btoa(String.fromCharCode(...item.slice(0, 3000)))}${item.length > 3000 ? '…' : ''}`
    if (typeof item === 'bigint') return String(item)
    return isRaw(item) ? { ...item } : item
  }, 2) ?? ''
}
