import time
from tests.tiny_models import picture
def test_x(appliance):
    print(appliance.predict(picture()).json())
    print(appliance.get("/health").json())
    print(appliance.metric("appliance_ready"))
def test_y(start_one):
    t=time.time()
    a = start_one()
    print("start", time.time()-t)
    print(a.predict(picture()))
    print(a.host_process_id())
    t=time.time()
    print(a.stop(), time.time()-t)
    print(a.log())
