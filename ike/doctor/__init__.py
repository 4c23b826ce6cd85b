"""Why a tunnel does not come up: facts gathered by adapters (`files`, `daemon`, `pluto`, `network`, `clocks`, `log`),
judged by pure rules (`policy`, `proof`, `clock`, `path`, `negotiation`), and put in order by `diagnosis`.
"""
