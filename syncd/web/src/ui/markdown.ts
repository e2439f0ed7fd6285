// Markdown of strangers to HTML that does nothing: no raw HTML, no pictures from elsewhere, links that only lead away.
import DOMPurify from 'dompurify'
import { Marked, type Tokens, type TokensList } from 'marked'

export type Block = { kind: 'html'; html: string } | { kind: 'code'; text: string; language: string }

const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escapeHtml(text),
    image: ({ href, text }) => `<a href="${escapeHtml(href)}">${escapeHtml(text || 'picture')}</a>`
  }
})

const SAFE = {
  ALLOWED_TAGS: ['p', 'br', 'strong', 'em', 'del', 'code', 'pre', 'blockquote', 'ul', 'ol', 'li', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'hr', 'a', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'input'],
  ALLOWED_ATTR: ['href', 'title', 'start', 'align', 'type', 'checked', 'disabled'],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false
}

DOMPurify.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName === 'A') {
    node.setAttribute('rel', 'noopener noreferrer nofollow')
    node.setAttribute('target', '_blank')
  }
  if (node.tagName === 'INPUT') {
    // Only the boxes of task lists.
    if (node.getAttribute('type') !== 'checkbox') node.remove()
    else {
      node.setAttribute('disabled', '')
      node.setAttribute('aria-label', node.hasAttribute('checked') ? 'done' : 'not done')
    }
  }
  // A message's headings are no headings of the page.
  if (/^H[1-6]$/.test(node.tagName)) {
    node.setAttribute('role', 'heading')
    node.setAttribute('aria-level', String(Math.min(Number(node.tagName[1]) + 2, 6)))
  }
})

const known = new Map<string, string>()
const KNOWN = 500

const toHtml = (token: TokensList[number], links: TokensList['links']): string => {
  const raw = token.raw
  const cached = known.get(raw)
  if (cached !== undefined) return cached
  const one = Object.assign([token], { links })
  const html = DOMPurify.sanitize(marked.parser(one), SAFE)
  if (!Object.keys(links).length) {
    if (known.size >= KNOWN) known.clear()
    known.set(raw, html)
  }
  return html
}

/** Top-level blocks, so that a text that grows is rendered anew only at its end. */
export const blocks = (text: string): Block[] => {
  try {
    const tokens = marked.lexer(text)
    return tokens.filter((token) => token.type !== 'space' && token.type !== 'def').map((token): Block =>
      token.type === 'code'
        ? { kind: 'code', text: (token as Tokens.Code).text, language: ((token as Tokens.Code).lang ?? '').split(/\s/)[0] ?? '' }
        : { kind: 'html', html: toHtml(token, tokens.links) })
  } catch {
    // Nested past what the parser takes: as plain text.
    return [{ kind: 'code', text, language: '' }]
  }
}
