"""The same recommendations from LitServe, for `service.py`: python service_litserve.py PORT, in .venv-bench.

POST /predict with {"user", "k"}; one worker beside the HTTP process, as LitServe is made.
"""

import sys

import litserve
from service_bare import answer, package


class Recommend(litserve.LitAPI):
    def setup(self, device):
        package()

    def decode_request(self, request):
        return request["user"], request["k"]

    def predict(self, wish):
        return answer(*wish)

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Recommend(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="error", generate_client_file=False)
