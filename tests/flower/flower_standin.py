"""A Grid in one process: messages go to the ClientApps directly, each client with a state of its own."""

import numpy as np
from flwr.app import Context, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from skfdrmfl.flower import client_app


class StandIn(Grid):
    """Clients by node id; node ids do not follow the order of labels."""

    def __init__(self, apps, labels, run_config=None):
        TaskIdentity._run_id, TaskIdentity._node_id, TaskIdentity._task_id = 1, 1, 1
        self.nodes = {1000 + 7 * i % 11: i for i in range(len(apps))}
        self.contexts = {
            node: Context(1, node, {"client": labels[i]}, RecordDict(), run_config or {})
            for node, i in self.nodes.items()
        }
        self.apps = {node: apps[i] for node, i in self.nodes.items()}
        self.messages = []

    def set_run(self, run):
        raise NotImplementedError

    @property
    def run(self):
        raise NotImplementedError

    def create_message(self, *args, **kwargs):
        raise NotImplementedError

    def get_node_ids(self):
        return list(self.nodes)

    def push_messages(self, messages):
        """Let clients answer at once; what they say waits, in another order."""
        replies = []
        for message in reversed(list(messages)):
            message.metadata.__dict__["_message_id"] = message.object_id
            node = message.metadata.dst_node_id
            reply = self.apps[node](message, self.contexts[node])
            self.messages.append((node, message, reply))
            replies.append(reply)
        self.replies = replies
        return [reply.metadata.reply_to_message_id for reply in reversed(replies)]

    def pull_messages(self, message_ids):
        """All that has been answered, once."""
        replies, self.replies = self.replies, []
        assert {reply.metadata.reply_to_message_id for reply in replies} == set(message_ids)
        return replies

    def send_and_receive(self, messages, *, timeout=None):
        raise NotImplementedError


def fit_on_flower(estimator, X, y, ids, tmp_path, **config):
    """The fitted estimator as a run leaves it, and the grid it went over."""
    from skfdrmfl import FDRMFLTransformer
    from skfdrmfl.flower import server_app

    labels = np.unique(ids).tolist()
    rows = {label: np.flatnonzero(ids == label) for label in labels}

    def load_data(context):
        mine = rows[context.node_config["client"]]
        return X[mine] if isinstance(X, np.ndarray) else X.iloc[mine], y[mine]

    grid = StandIn([client_app(load_data, estimator)] * len(labels), labels)
    path = tmp_path / "model.skfdrmfl"
    context = Context(1, 1, {}, RecordDict(), {"n-clients": len(labels), **config})
    server_app(estimator, path)(grid, context)
    return FDRMFLTransformer.load(path), grid
