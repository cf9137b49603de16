// What REDIS_URL may say: one server, or several nodes of a Redis Cluster, from which a client learns of the others.
// Pure functions; what is wrong with a text is told without repeating it, since it may hold a password.

export interface ClusterSeeds {
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  /** The same for every node. */
  readonly username: string;
  readonly password: string;
  readonly tls: boolean;
}

const DEFAULT_PORT = 6379;

/** What is wrong with it, to be read after the name of the variable; undefined: nothing. */
export function redisUrlProblem(text: string): string | undefined {
  const parts = text.split(',');
  if (!parts.every((part) => URL.canParse(part) && /^rediss?:$/.test(new URL(part).protocol))) {
    const form = 'must be a URL that starts with redis:// or rediss://, or several of them separated by commas';
    return parts.length === 1 ? form : `${form} (a comma in a password is written %2C)`;
  }
  const urls = parts.map((part) => new URL(part));
  if (urls.length === 1) return undefined;
  const [first] = urls;
  const same = urls.every(
    ({ protocol, username, password }) =>
      protocol === first?.protocol && username === first.username && password === first.password,
  );
  if (!same)
    return 'must have the same protocol, user and password in all its URLs: they name nodes of one Redis Cluster';
  if (!urls.every(({ pathname }) => /^\/?0?$/.test(pathname))) {
    return 'names a database, but a Redis Cluster has only database 0';
  }
  return undefined;
}

/** The nodes of a cluster that a valid REDIS_URL names; undefined when it names one server. */
export function clusterSeeds(text: string): ClusterSeeds | undefined {
  const urls = text.split(',').map((part) => new URL(part));
  const [first] = urls;
  if (first === undefined || urls.length === 1) return undefined;
  return {
    // An address of IPv6 stands in brackets in a URL, and nowhere else.
    nodes: urls.map(({ hostname, port }) => ({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port === '' ? DEFAULT_PORT : port),
    })),
    username: decodeURIComponent(first.username),
    password: decodeURIComponent(first.password),
    tls: first.protocol === 'rediss:',
  };
}
