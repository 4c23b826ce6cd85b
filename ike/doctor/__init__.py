"""Why a tunnel does not come up: facts gathered by adapters (`files`, `daemon`, `network`, `log`), judged by pure rules
(`policy`, `proof`, `path`, `negotiation`), and put in order by `diagnosis`.
"""
