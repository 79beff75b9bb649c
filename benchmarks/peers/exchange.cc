// Round trips of one bidirectional gRPC stream in C++: the blocking API, or a completion queue that the measuring thread polls itself.
//   exchange server STYLE                              prints "listening ADDRESS", answers each message with one as long, ends with its input
//   exchange client STYLE ADDRESS WARMUP SIZE:ROUNDS...  prints for each size a line "SIZE p50 p99" in microseconds
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "exchange.grpc.pb.h"

using peers::v1::Exchange;
using peers::v1::Message;

namespace {

constexpr int kMostBytes = 64 << 20;

class Blocking final : public Exchange::Service {
  grpc::Status Exchange(grpc::ServerContext*, grpc::ServerReaderWriter<Message, Message>* stream) override {
    Message message;
    while (stream->Read(&message))
      if (!stream->Write(message)) break;
    return grpc::Status::OK;
  }
};

// One call at a time, which is all that is measured.
void ServePolling(Exchange::AsyncService* service, grpc::ServerCompletionQueue* queue) {
  void* tag;
  bool ok;
  for (;;) {
    grpc::ServerContext context;
    grpc::ServerAsyncReaderWriter<Message, Message> stream(&context);
    service->RequestExchange(&context, &stream, queue, queue, nullptr);
    if (!queue->Next(&tag, &ok) || !ok) return;
    Message message;
    for (;;) {
      stream.Read(&message, nullptr);
      if (!queue->Next(&tag, &ok)) return;
      if (!ok) break;
      stream.Write(message, nullptr);
      if (!queue->Next(&tag, &ok)) return;
      if (!ok) break;
    }
    stream.Finish(grpc::Status::OK, nullptr);
    if (!queue->Next(&tag, &ok)) return;
  }
}

int Serve(bool polling) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(kMostBytes);
  Blocking blocking;
  Exchange::AsyncService service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  if (polling) {
    builder.RegisterService(&service);
    queue = builder.AddCompletionQueue();
  } else {
    builder.RegisterService(&blocking);
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  std::cout << "listening 127.0.0.1:" << port << std::endl;
  std::thread serving;
  if (polling) serving = std::thread(ServePolling, &service, queue.get());
  while (std::cin.get() != EOF) {
  }
  std::_Exit(0);
}

void Report(long size, std::vector<double>& times) {
  std::sort(times.begin(), times.end());
  std::printf("%ld %.3f %.3f\n", size, times[times.size() / 2], times[times.size() * 99 / 100]);
  std::fflush(stdout);
}

template <typename RoundTrip>
void Measure(int count, char** sizes, int warmup, RoundTrip round_trip) {
  Message out, in;
  for (int i = 0; i < count; i++) {
    char* rest;
    const long size = std::strtol(sizes[i], &rest, 10);
    const int rounds = std::atoi(rest + 1);
    out.set_data(std::string(size, 'x'));
    std::vector<double> times;
    for (int round = -std::min(warmup, rounds); round < rounds; round++) {
      const auto start = std::chrono::steady_clock::now();
      if (!round_trip(out, in) || in.data().size() != static_cast<size_t>(size)) std::exit(1);
      if (round >= 0) times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
    }
    Report(size, times);
  }
}

int Call(bool polling, int argc, char** argv) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMostBytes);
  auto stub = Exchange::NewStub(grpc::CreateCustomChannel(argv[0], grpc::InsecureChannelCredentials(), arguments));
  const int warmup = std::atoi(argv[1]);
  grpc::ClientContext context;
  if (!polling) {
    auto stream = stub->Exchange(&context);
    Measure(argc - 2, argv + 2, warmup, [&](const Message& out, Message& in) { return stream->Write(out) && stream->Read(&in); });
    stream->WritesDone();
    return stream->Finish().ok() ? 0 : 1;
  }

  grpc::CompletionQueue queue;
  void* tag;
  bool ok;
  auto stream = stub->AsyncExchange(&context, &queue, nullptr);
  if (!queue.Next(&tag, &ok) || !ok) return 1;
  // The read is asked for before the write, so that both completions come without another call in between.
  Measure(argc - 2, argv + 2, warmup, [&](const Message& out, Message& in) {
    stream->Read(&in, nullptr);
    stream->Write(out, nullptr);
    bool first, second;
    return queue.Next(&tag, &first) && queue.Next(&tag, &second) && first && second;
  });
  std::fflush(stdout);
  std::_Exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 3 && std::string(argv[1]) == "server") return Serve(std::string(argv[2]) == "polling");
  if (argc >= 6 && std::string(argv[1]) == "client") return Call(std::string(argv[2]) == "polling", argc - 3, argv + 3);
  std::fprintf(stderr, "usage: exchange server STYLE | client STYLE ADDRESS WARMUP SIZE:ROUNDS...\n");
  return 2;
}
